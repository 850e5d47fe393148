"""The layout of a paper's table: the run behind each row, and the measure of each column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from jaxrec.studies.papers.published import PublishedTable

DATASETS = {
    "Amazon Sports": "Sports",
    "Amazon Beauty": "Beauty",
    "Amazon Toys": "Toys",
    "Amazon Clothing": "Clothing",
    "Last.fm": "LastFM",
    "MovieLens 1M": "ML1M",
}
"""The papers' names of datasets by those of configs."""

TableKind = Literal["ranking", "error", "texts", "time"]


@dataclasses.dataclass(frozen=True)
class Source:
    """The source of a row's figures; without `run` and `baseline` there are none.

    Attributes:
      run: a row of the study.
      baseline: a name of `jaxrec.baselines.registry.BASELINES`.
      system: which row of the run, as the suffix to the main row's name; "" is the main row.
      note: a note to print below the table.
      trained: whether a missing run is trained; otherwise it is included only if its folder exists.
    """

    run: str | None = None
    baseline: str | None = None
    system: str = ""
    note: str = ""
    trained: bool = True

    @property
    def key(self) -> tuple[str | None, str | None]:
        """Sources with the same key are read from the same folders."""
        return self.run, self.baseline


@dataclasses.dataclass(frozen=True)
class Layout:
    """A paper's table, and the sources of ours in the same layout.

    Attributes:
      published: the paper's table.
      kind: "ranking": metrics of ranks; "error": metrics of one system with their standard error over seeds, a row per
        dataset; "texts": metrics of texts and ratings; "time": milliseconds.
      sources: by row or, where `across`, by column.
      measures: what is read from a run, by column or, where `across`, by row: "hr@10", "hr@20, unseen users";
        "rating/rmse"; "ms" of a list of ten, "ms (user id only)", "ms/rating".
      studies: presets by the paper's dataset, "" for a dataset that is not in the paper; the first is the default.
      across: whether columns are systems and rows are metrics.
    """

    published: PublishedTable
    kind: TableKind
    sources: Mapping[str, Source]
    measures: Mapping[str, str]
    studies: Mapping[str, str]
    across: bool = False

    def cell_source(self, row: str, column: str) -> tuple[Source, str]:
        """Source and measure of a cell."""
        system, measure = (column, row) if self.across else (row, column)
        return self.sources[system], self.measures[measure]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The paper's datasets in this table: groups of columns, or the rows of a table of errors."""
        return tuple(self.published.rows) if self.kind == "error" else self.published.datasets

    def paper_dataset(self, dataset: str, chosen: str | None = None) -> str:
        """The paper's dataset whose figures stand beside ours.

        Args:
          dataset: the data's name in the study's config.
          chosen: the user's choice, by the paper's name or ours, or None.
        Raises:
          ValueError: the table has no such dataset.
        """
        theirs = self.datasets
        if chosen is None:
            candidates = (DATASETS.get(dataset, dataset), *self.studies, "Beauty", theirs[0])
            return next(name for name in candidates if name in theirs)
        for name in theirs:
            ours = [our_name.lower() for our_name, their_name in DATASETS.items() if their_name == name]
            if chosen.lower() in (name.lower(), *ours):
                return name
        raise ValueError(f"dataset {chosen!r} is none of {self.published.name}: give one of {', '.join(theirs)}")
