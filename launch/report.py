"""Write a run's report anew: `python -m launch.report runs/demo [--out FILE]`."""

from __future__ import annotations

import dataclasses

import tyro

from jaxrec import experiment
from jaxrec.system import loading
from launch.arguments import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Writes a measured run's report.html: results, curves, ids, attention and recommendations on one page."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: str | None = None
    """Default: report.html in the run's folder."""


@explained
def main() -> None:
    """Writes the file and names it."""
    arguments = tyro.cli(Arguments, prog="launch.report")
    print(f"report: {experiment.leave_report(loading.load(arguments.run), arguments.out)}")


if __name__ == "__main__":
    main()
