"""Write a run's report again: `jaxrec report runs/demo [--out FILE]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tyro

from jaxrec.cli.arguments import load_run, parsed
from jaxrec.cli.failures import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Writes the HTML report of an evaluated run: results, curves, ids, attention and recommendations."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: str | None = None
    """Default: report.html in the run's folder."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Writes the report and prints its path."""
    arguments = parsed(Arguments, "report", argv)
    print(f"report: {load_run(arguments.run).write_report(arguments.out)}")
