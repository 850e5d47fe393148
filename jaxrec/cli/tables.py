"""Fill a table of a paper: `jaxrec tables meta_id 1 2`, `jaxrec tables token_rec 6`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.baselines.registry import Settings
from jaxrec.cli.arguments import explained, parsed


@dataclasses.dataclass(frozen=True)
class Arguments(Settings):
    """Trains what the tables need and prints them, ours beside the paper's; what an earlier call finished is kept."""

    paper: tyro.conf.Positional[Literal["meta_id", "token_rec"]] = "meta_id"
    """META ID: tables 1, 2, 3, 4, 5, 8, 11, 12 and 13. TokenRec: tables 2 to 6."""
    tables: tyro.conf.Positional[tuple[int, ...]] = ()
    """Numbers of tables."""
    study: str | None = None
    """A configs/*.py file whose rows are the runs, at the size that it says; default: the table's own."""
    dataset: str | None = None
    """One of the table's: "Last.fm" or "Amazon Beauty", where there is a study for each."""
    seeds: tuple[int, ...] = (0,)
    """Each run is made with each; META ID's table 12 wants several."""
    out: str = "runs/tables"
    """Gets a table as META_ID-1.json and META_ID-1.md."""
    runs: str | None = None
    """Folder of the study's runs; default: OUT/STUDY."""
    finished_only: bool = False
    """Train nothing: print with what is there, and say what is not."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints each table as soon as its runs are done."""
    arguments = parsed(Arguments, "tables", argv)
    filled = jaxrec.paper_tables(
        arguments.paper,
        arguments.tables,
        arguments.seeds,
        study=arguments.study,
        dataset=arguments.dataset,
        settings=arguments,
        out=arguments.out,
        runs=arguments.runs,
        finished_only=arguments.finished_only,
    )
    for table in filled:
        print(f"\n{table}")
    print(f"\nfolder: {pathlib.Path(arguments.out)}  (each table as .json and .md, and the runs)")
