"""Train and measure several runs as one table: `jaxrec compare demo_study [--seeds 0 1 2]`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, parsed
from jaxrec.config import load_study
from jaxrec.studies.run_folders import run_folder


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Runs every config of a study with every seed; what an earlier call finished is not done again."""

    study: tyro.conf.Positional[str]
    """A configs/*.py file that builds `study`, configs by the names of their rows, or one `config`."""
    seeds: tuple[int, ...] = (0,)
    """Each config is run with each; several give a mean and a standard deviation."""
    out: str | None = None
    """Default: runs/STUDY."""
    protocols: tuple[Literal["strict", "as-released"], ...] = ()
    """One replaces the configs' own; `strict as-released` trains under both and prints what the papers' leak adds."""
    show: int = 0
    """Print recommendations of the first seed's runs for so many users."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table and leaves it in the folder as results.json, beside the runs."""
    arguments = parsed(Arguments, "compare", argv)
    study = load_study(arguments.study)
    folder = pathlib.Path(arguments.out or f"runs/{pathlib.Path(arguments.study).stem}")
    protocols, tables = set(arguments.protocols), []
    if len(protocols) == 2:
        inflation = jaxrec.compare_protocols(study, arguments.seeds, out=folder)
        tables = [inflation.strict, inflation.as_released]
        folder = folder / "strict"
    else:
        for protocol in protocols:
            study = {name: dataclasses.replace(config, protocol=protocol) for name, config in study.items()}
        inflation = None
        tables = [jaxrec.compare(study, arguments.seeds, out=folder)]
    for name in study if arguments.show else ():
        run = jaxrec.load(run_folder(folder, name, arguments.seeds[0]))
        print(f"\n{name}")
        for user in run.examples(arguments.show):
            print(f"{run.recommend(user)}\n")
    for comparison in tables:
        print(f"\n{comparison}")
    if inflation:
        print(f"\n{inflation}")
    inside = "beside it as-released/ and inflation.json; " if inflation else ""
    print(f"\nfolder: {folder}  ({inside}results.json, and a run folder for each row and seed)")
    for name in study:
        page = run_folder(folder, name, arguments.seeds[0]) / "report.html"
        if page.is_file():
            print(f"report of {name}: {page}")
