"""Train and evaluate several configs: `jaxrec compare demo_study [--seeds 0 1 2]`."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import SideBySide, load_run, parsed
from jaxrec.cli.failures import explained
from jaxrec.config import load_study
from jaxrec.config.limits import NonNegativeInt, Seed
from jaxrec.studies.run_folders import run_folder


@dataclasses.dataclass(frozen=True)
class Arguments(SideBySide):
    """Runs every config of a study with every seed; finished runs are reused."""

    study: tyro.conf.Positional[str]
    """Preset or configs/*.py file that builds a `study`, configs by row name, or a single `config`."""
    seeds: tuple[Seed, ...] = (0,)
    """With several, the table shows mean and standard deviation."""
    out: str | None = None
    """Default: runs/STUDY."""
    protocols: tuple[Literal["strict", "as-released"], ...] = ()
    """Replaces the protocol of the configs; `strict as-released` trains under both and prints the inflation by the
    leak."""
    show: NonNegativeInt = 0
    """Number of users for whom recommendations of the first seed's runs are printed."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table; it is also written into the folder as results.json, beside the runs."""
    arguments = parsed(Arguments, "compare", argv)
    study = load_study(arguments.study)
    folder = pathlib.Path(arguments.out or f"runs/{pathlib.Path(arguments.study).stem}")
    protocols, tables = set(arguments.protocols), []
    where = {"workers": arguments.workers, "ray": arguments.ray}
    if len(protocols) == 2:
        inflation = jaxrec.compare_protocols(study, arguments.seeds, out=folder, **where)
        tables = [inflation.strict, inflation.as_released]
        folder = folder / "strict"
    else:
        for protocol in protocols:
            study = {name: dataclasses.replace(config, protocol=protocol) for name, config in study.items()}
        inflation = None
        tables = [jaxrec.compare(study, arguments.seeds, out=folder, **where)]
    for name in study if arguments.show else ():
        run = load_run(run_folder(folder, name, arguments.seeds[0]))
        print(f"\n{name}")
        for user in run.examples(arguments.show):
            print(f"{run.recommend(user)}\n")
    for comparison in tables:
        print(f"\n{comparison}")
    if inflation:
        print(f"\n{inflation}")
    both_protocols = "beside it as-released/ and inflation.json; " if inflation else ""
    print(f"\nfolder: {folder}  ({both_protocols}results.json, and a run folder for each row and seed)")
    for name in study:
        report = run_folder(folder, name, arguments.seeds[0]) / "report.html"
        if report.is_file():
            print(f"report of {name}: {report}")
    folders = " ".join(shlex.quote(str(run_folder(folder, name, arguments.seeds[0]))) for name in study)
    print(f"a page to try them in: {_program()} serve {folders}")


def _program() -> str:
    """The console command, with its folder where the shell would not find it."""
    installed = pathlib.Path(sys.executable).parent / "jaxrec"
    if shutil.which("jaxrec") or not installed.is_file():
        return "jaxrec"
    here = pathlib.Path.cwd()
    return str(installed.relative_to(here) if installed.is_relative_to(here) else installed)
