"""Fill the tables of a paper: `jaxrec tables meta_id`, `jaxrec tables token_rec 6`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.baselines.registry import Settings
from jaxrec.cli.arguments import SideBySide, parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import PositiveInt, Seed


@dataclasses.dataclass(frozen=True)
class Arguments(SideBySide, Settings):
    """Trains the runs that a paper's tables need, and prints our results beside its own; finished runs are reused."""

    paper: tyro.conf.Positional[Literal["meta_id", "token_rec"]] = "meta_id"
    """META ID: tables 1, 2, 3, 4, 5, 8, 11, 12 and 13. TokenRec: tables 2 to 6."""
    tables: tyro.conf.Positional[tuple[PositiveInt, ...]] = ()
    """Numbers of tables; none: all."""
    study: str | None = None
    """Preset or configs/*.py file of a study whose rows are the runs. Default: the table's own."""
    dataset: str | None = None
    """"Last.fm" or "Amazon Beauty", for tables with a study for each."""
    seeds: tuple[Seed, ...] = (0,)
    """Every run is trained with every seed; META ID's table 12 needs several."""
    out: str = "runs/tables"
    """Folder for the tables, such as META_ID-1.json and META_ID-1.md."""
    runs: str | None = None
    """Folder of the study's runs; default: OUT/STUDY."""
    only: tuple[str, ...] = ()
    """Train these rows alone, such as `--only SASRec "META ID"`. Default: all that are missing."""
    budget: str | None = None
    """Stop training after this time, such as 2h, 90m or 1h30m; the same command goes on. Only steps of training look
    at the clock, so clustering and measuring may take longer."""
    finished_only: bool = False
    """Train nothing: fill the tables from finished runs, and list the runs that are missing."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints each table as soon as its runs are finished."""
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
        only=arguments.only,
        budget=arguments.budget,
        finished_only=arguments.finished_only,
        workers=arguments.workers,
        ray=arguments.ray,
    )
    for table in filled:
        print(f"\n{table}")
    print(f"\nfolder: {pathlib.Path(arguments.out)}  (each table as .json and .md, and the runs)")
