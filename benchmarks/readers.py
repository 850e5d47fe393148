"""Reading events by jaxrec's readers beside polars alone, and, with `--beside`, beside another version of jaxrec.

`python -m benchmarks.run readers.csv` does the first; `python -m benchmarks.readers --beside ../before` takes the CPU
seconds of this checkout and of another one in turns.
"""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from benchmarks import harness
from jaxrec.data.readers.registry import read_events

ROUNDS = 7
ROOT = pathlib.Path(__file__).parent.parent
SERVER = """
import json, pathlib, sys, time
from jaxrec.config import DataConfig
from jaxrec.data.load import load_interactions
from jaxrec.data.readers.registry import read_events

def opened(folder):
    import jaxrec
    run = jaxrec.load(folder)
    return run.recommend(run.examples(1)[0])

work = {
    "read": lambda path: read_events(pathlib.Path(path)),
    "load": lambda path: load_interactions(DataConfig(path=path, min_events=1), seed=0),
    "open": opened,
}
for line in sys.stdin:
    kind, path = json.loads(line)
    wall, cpu = time.perf_counter(), time.process_time()
    work[kind](path)
    print("seconds", time.process_time() - cpu, time.perf_counter() - wall, flush=True)
"""
"""Run in a checkout: answers each line, a kind of work and a path, with the CPU and wall seconds that it took."""


def events(n: int, *, texts: bool = False) -> pl.DataFrame:
    """Events of n / 40 users with n / 100 items, popular ones more often; user by user, with names like Amazon's."""
    draw = np.random.default_rng(0)
    n_users, n_items = max(n // 40, 5), max(n // 100, 5)
    users = pl.Series([f"A{number * 7919 + 10**12:013X}" for number in range(n_users)])
    items = pl.Series([f"B{number * 104729 % 10**9:09d}" for number in range(n_items)])
    columns = {
        "user_id": users.gather(np.sort(draw.integers(0, n_users, n))),
        "item_id": items.gather((n_items * draw.random(n) ** 2).astype(np.int64)),
        "rating": draw.integers(1, 6, n).astype(np.float64),
        "timestamp": draw.integers(1_300_000_000, 1_700_000_000, n),
    }
    if texts:
        words = pl.Series(["good", "bad, very", "works", "broke", "again", "and", "the", "a"])
        parts = [words.gather(draw.integers(0, len(words), n)) for _ in range(8)]
        columns["text"] = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=" ")).to_series()
    return pl.DataFrame(columns)


@dataclasses.dataclass(frozen=True)
class Format:
    """A workload: a file format, how a file of it is written, and how polars reads it."""

    name: str
    rows: int
    write: Callable[[pl.DataFrame, pathlib.Path], object]
    peer: Callable[[pathlib.Path], pl.DataFrame]
    texts: bool = False
    reach: float = 0.5
    aim: float = 1.0

    def file(self, folder: pathlib.Path, *, quick: bool) -> pathlib.Path:
        """Writes the file."""
        file = folder / self.name
        self.write(events(2000 if quick else self.rows, texts=self.texts), file)
        return file

    def cases(self, quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
        """The same file, which both have in the page cache; the peer checks neither names nor times."""
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        file = self.file(pathlib.Path(folder.name), quick=quick)
        frame, plain = read_events(file), self.peer(file)
        for role, column in (("user", "user_id"), ("item", "item_id")):
            assert frame[role].cast(pl.String).equals(plain[column]), f"{file.name}: other {role}s than the peer"
        assert (frame["time"] // 1000).to_numpy().tolist() == plain["timestamp"].to_list()
        size = file.stat().st_size / 2**20
        note = f"{frame.height:,} events, {size:.1f} MiB; the peer is polars {pl.__version__}; names and times equal"
        return lambda: read_events(file), lambda: self.peer(file), frame.height, "events", note


WORKLOADS = {
    entry.name.partition(".")[2]: entry
    for entry in (
        Format("readers.parquet", 4_000_000, pl.DataFrame.write_parquet, pl.read_parquet),
        Format("readers.csv", 1_000_000, pl.DataFrame.write_csv, pl.read_csv),
        Format(
            "readers.quoted",
            600_000,
            lambda frame, file: frame.write_csv(file, quote_style="always"),
            lambda file: pl.read_csv(file).with_columns(pl.col("timestamp").cast(pl.Int64)),
        ),
        Format("readers.json", 400_000, pl.DataFrame.write_ndjson, pl.read_ndjson, texts=True),
    )
}
"""By the part of the name after the point, as `benchmarks.run` looks them up."""


class Checkout:
    """A version of jaxrec in a process of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, kind: str, path: str) -> tuple[float, float]:
        """CPU and wall seconds of a piece of work: "read" or "load" a file, "open" a run and recommend once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([kind, path]), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("seconds "):
                cpu, wall = map(float, line.split()[1:])
                return cpu, wall
        raise RuntimeError(f"{kind} {path} failed; see above")

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()


def compare(before: pathlib.Path, *, quick: bool, runs: Sequence[str] = ()) -> list[dict]:
    """CPU and wall seconds of a checkout and of this one, alternately, after one round each that is not counted.

    Args:
      before: the other checkout.
      quick: small files.
      runs: folders of two runs, of the other checkout and of this one, to be opened.
    """
    sides = {"before": Checkout(before), "now": Checkout(ROOT)}
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [entry.file(pathlib.Path(folder), quick=quick) for entry in WORKLOADS.values()]
            work = [(kind, file.name, [str(file)] * 2) for file in files for kind in ("read", "load")]
            work += [("open", "a run", [os.path.abspath(run) for run in runs])] if runs else []
            for kind, name, paths in work:
                seconds: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
                for number in range((3 if quick else ROUNDS) + 1):
                    for (side, checkout), path in zip(sides.items(), paths, strict=True):
                        taken = checkout.seconds(kind, path)
                        if number:
                            seconds[side].append(taken)
                rows.append({"work": f"{kind} {name}", **{side: _summary(taken) for side, taken in seconds.items()}})
                print(_line(rows[-1]), flush=True)
    finally:
        for checkout in sides.values():
            checkout.end()
    return rows


def _summary(seconds: list[tuple[float, float]]) -> dict[str, list[float]]:
    """Median, lowest and highest of CPU and of wall seconds."""
    return {
        kind: [statistics.median(values), min(values), max(values)]
        for kind, values in zip(("cpu", "wall"), zip(*seconds, strict=True), strict=True)
    }


def _line(row: dict) -> str:
    cells = [
        f"{side} {row[side][kind][0]:.3f} ({row[side][kind][1]:.3f} to {row[side][kind][2]:.3f}) s {kind}"
        for kind in ("cpu", "wall")
        for side in ("before", "now")
    ]
    return f"{row['work']:22} {', '.join(cells)}"


def main() -> None:
    """Compares two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=pathlib.Path, required=True, help="folder of another version's checkout")
    parser.add_argument("--runs", nargs=2, default=(), metavar=("BEFORE", "NOW"), help="runs to open, of each version")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all is wired up")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"), help="folder of JSON")
    arguments = parser.parse_args()
    rows = compare(arguments.beside.resolve(), quick=arguments.quick, runs=arguments.runs)
    harness.write(arguments.out, "readers-before-and-now", {"rows": rows, **harness.circumstances()})


if __name__ == "__main__":
    main()
