"""Runs workloads and prints the table: `python -m benchmarks.run [NAME ...] [--quick] [--out FOLDER]`."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import subprocess
import sys
from typing import Any, cast

from benchmarks import harness

WORKLOADS = (
    "walks",
    "skipgram",
    "t5_step",
    "training",
    "beam",
    "evaluation",
    "retrieval",
    "lightgcn",
    "lightgcn_csr",
    "token_rec",
    "latency",
    "readers.parquet",
    "readers.csv",
    "readers.quoted",
    "readers.json",
)
"""Modules of this folder, and entries of the `WORKLOADS` of those that have several."""


def main() -> int:
    """Runs each workload in its own process, so that thread pools and memory of one do not slow the next.

    Returns 1 if a workload failed to run; a slow workload is a row of the table, not an error.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WORKLOADS)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all is wired up")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"), help="folder of JSON")
    parser.add_argument("--here", action="store_true", help="run in this process (used for the child processes)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload is called {', '.join(unknown)}; choose from {', '.join(WORKLOADS)}")
    names = arguments.names or WORKLOADS
    if arguments.here:
        for name in names:
            harness.write(arguments.out, name, harness.measure(workload(name), quick=arguments.quick))
        return 0
    failed = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.run", name, "--here", "--out", str(arguments.out)]
        if subprocess.run([*command, *(["--quick"] if arguments.quick else [])]).returncode:
            failed.append(name)
    reports = [json.loads((arguments.out / f"{name}.json").read_text()) for name in names if name not in failed]
    if reports:
        print(workload_table(reports))
    if failed:
        print(f"could not be run (see above): {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def workload(name: str) -> harness.Workload:
    """The workload of a name in `WORKLOADS`."""
    module_name, _, entry = name.partition(".")
    module = importlib.import_module(f"benchmarks.{module_name}")
    return module.WORKLOADS[entry] if entry else cast(harness.Workload, module)


def workload_table(rows: list[dict[str, Any]]) -> str:
    """Workloads as aligned lines: median rates, and the ratio with its range over pairs of neighbouring rounds."""
    cells = [["workload", "ours", "peer", "ratio", "(range)", "reach", "aim", "verdict"]]
    for row in rows:
        low, high = row["ratio_spread"]
        cells.append(
            [
                row["workload"],
                f"{_short(row['ours']['rate'])} {row['unit']}/s",
                f"{_short(row['peer']['rate'])} {row['unit']}/s",
                f"{row['ratio']:.2f}x",
                f"({low:.2f}-{high:.2f})",
                f"{row['reach']:g}x",
                f"{row['aim']:g}x",
                row["verdict"],
            ]
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    notes = [f"{row['workload']}: {row['note']}" for row in rows]
    return "\n".join([*lines, "", *notes, f"on {rows[0]['device']}; {rows[0]['processor']}"])


def _short(value: float) -> str:
    """A rate with three digits: 812, 34.1k, 2.50M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
