"""A table as printed in a paper; the figures are in `meta_id_figures` and `token_rec_figures`."""

from __future__ import annotations

import dataclasses

PAPERS = {"meta_id": "META ID", "token_rec": "TokenRec"}
"""Names of the papers' methods by the papers' names on the command line."""


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
      paper: one of `PAPERS`.
      number: the table's number.
      caption: the table's caption.
      first: heading of the first column.
      datasets: as the paper calls them, left to right.
      columns: headings under each dataset.
      text: a line per row: its name and, for each dataset, the values of `columns`; name and datasets are separated by
        ";".
      notes: known misprints and contradictions, each with the dataset it is about ("": all).
    """

    paper: str
    number: int
    caption: str
    first: str
    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    text: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> dict[str, dict[str, dict[str, str]]]:
        """The figures as printed, by row, dataset and column."""
        rows = {}
        for line in self.text.strip().splitlines():
            name, *blocks = (part.strip() for part in line.split(";"))
            rows[name] = {d: dict(zip(self.columns, b.split(), strict=True)) for d, b in zip(self.datasets, blocks)}
        return rows

    @property
    def name(self) -> str:
        """As in "META ID, table 1"."""
        return f"{PAPERS[self.paper]}, table {self.number}"
