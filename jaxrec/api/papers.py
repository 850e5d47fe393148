"""Tables of the META ID and TokenRec papers, filled from runs of one's own."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import polars as pl

from jaxrec.baselines.registry import Settings as BaselineSettings
from jaxrec.studies.papers import tables
from jaxrec.studies.papers.paper_table import PaperTable as FilledTable
from jaxrec.studies.papers.plan import parse_duration
from jaxrec.studies.papers.render import table_markdown, table_text
from jaxrec.studies.workers import Workers


class PaperTable:
    """A paper's table with our results beside the published ones; prints as text, in a notebook as Markdown."""

    def __init__(self, table: FilledTable) -> None:
        self.table = table

    def to_dict(self) -> dict[str, Any]:
        """The content of the table's JSON file: rows with cells, notes, settings."""
        return json.loads(self.table.to_json())

    def to_frame(self) -> pl.DataFrame:
        """A row per published value; see `jaxrec.studies.papers.paper_table.PaperTable.to_frame`."""
        return self.table.to_frame()

    def __repr__(self) -> str:
        return table_text(self.table)

    def _repr_markdown_(self) -> str:
        return table_markdown(self.table)


def paper_tables(
    paper: Literal["meta_id", "token_rec"],
    numbers: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
    *,
    study: str | None = None,
    dataset: str | None = None,
    settings: Any = None,
    out: str | os.PathLike[str] = "runs/tables",
    runs: str | os.PathLike[str] | None = None,
    only: Sequence[str] = (),
    budget: str | float | None = None,
    finished_only: bool = False,
    workers: int = 1,
    ray: bool = False,
) -> Iterator[PaperTable]:
    """Trains the runs that a paper's tables need, and puts our results beside the paper's; finished runs are reused.

    The cheapest are trained first, and logged beforehand with about how long each takes, as soon as a run of its kind
    has finished on this machine.

    Args:
      paper: META ID has tables 1, 2, 3, 4, 5, 8, 11, 12 and 13, TokenRec 2 to 6.
      numbers: of the tables; none: all, with each of their studies.
      seeds: every run is trained with every seed; META ID's table 12 needs several.
      study: file or preset whose rows are the runs; None: the table's own.
      dataset: "Last.fm" or "Amazon Beauty", for tables with a study for each.
      settings: `BaselineSettings`; None: the defaults.
      out: folder for each table as JSON and Markdown.
      runs: folder of the study's runs; None: OUT/STUDY.
      only: rows to train, such as "SASRec"; none: all that are missing.
      budget: of training, in seconds or as "2h", "90m", "1h30m"; the next call goes on. None: no limit.
      finished_only: train nothing; the tables list the runs that are missing.
      workers: runs that are trained at a time, each in a process with an even share of this machine's cores or GPUs.
      ray: whether they are tasks on the Ray cluster of `RAY_ADDRESS`, or on a local one, instead.
    Yields:
      Each table as soon as its runs are done.
    Raises:
      ValueError: a table number, data set, study, seed, row, budget or config is invalid; all are checked before any
        training.
    """
    filled = tables.paper_tables(
        paper,
        numbers,
        seeds,
        pathlib.Path(out),
        settings or BaselineSettings(),
        study=study,
        dataset=dataset,
        folder=pathlib.Path(runs) if runs else None,
        only=only,
        budget=parse_duration(budget) if isinstance(budget, str) else budget,
        finished_only=finished_only,
        workers=Workers(workers, ray),
    )
    yield from map(PaperTable, filled)
