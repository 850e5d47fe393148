"""A filled table: our figures by seed, the paper's as printed, and notes on both."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping
from typing import Any

import polars as pl

from jaxrec.studies.comparison import PairedInterval
from jaxrec.studies.papers.intervals import TextInterval
from jaxrec.studies.papers.layout import TableKind


@dataclasses.dataclass(frozen=True)
class Cell:
    """A figure: ours, one value per seed, and the paper's as printed, None if the paper has no such row."""

    ours: tuple[float, ...] = ()
    paper: str | None = None


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row by its name, with its cells by column."""

    row: str
    cells: Mapping[str, Cell]


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A paper's table filled with our runs; `jaxrec.studies.papers.render` formats it.

    Attributes:
      paper: "meta_id" or "token_rec".
      table: its number.
      name: "META ID, table 1".
      caption: the table's caption.
      kind: see `Layout`.
      first: heading of the first column.
      columns: the other headings.
      beside: the paper's dataset whose figures are next to ours.
      command: the command line that made it.
      seeds: of the runs.
      dataset: our data.
      protocol: our split protocol.
      users: the distinct numbers of users or events behind the figures.
      rows: from top to bottom.
      intervals: of differences between rows.
      notes: pairs of row or column names and a note on them.
      settings: pairs of runs, and their model and training.
      lists: lengths of the language models' recommendation lists.
      printed: known misprints of the paper.
      contradictions: columns of printed figures that can't all be right, by row.
      part: "test"; this and the following are None without a finished run.
      n_items: number of ranked items.
      mask_seen: whether items of the history were left out.
      device: the device of the computation.
      versions: of jax, jaxrec and Python.
      events: numbers of training, validation, test and withheld events; None if no texts or ratings are predicted.
    """

    paper: str
    table: int
    name: str
    caption: str
    kind: TableKind
    first: str
    columns: tuple[str, ...]
    beside: str
    command: str
    seeds: tuple[int, ...]
    dataset: str
    protocol: str
    users: tuple[int, ...]
    rows: tuple[TableRow, ...]
    intervals: tuple[PairedInterval | TextInterval, ...]
    notes: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    lists: tuple[int, ...]
    printed: tuple[str, ...]
    contradictions: Mapping[str, tuple[str, ...]]
    part: str | None = None
    n_items: int | None = None
    mask_seen: bool | None = None
    device: str | None = None
    versions: Mapping[str, str] | None = None
    events: Mapping[str, int] | None = None

    def row(self, name: str) -> TableRow:
        """The row of a name.

        Raises:
          ValueError: there is no such row; the message lists all.
        """
        for row in self.rows:
            if row.row == name:
                return row
        raise ValueError(f"{self.name} has no row {name!r}; it has {', '.join(row.row for row in self.rows)}")

    def to_frame(self) -> pl.DataFrame:
        """A row for each cell: "row", "column", "ours" (mean over the seeds, or null) and "paper" as printed."""
        columns = {"row": pl.String, "column": pl.String, "ours": pl.Float64, "paper": pl.String}
        values = [
            [row.row, column, statistics.mean(cell.ours) if cell.ours else None, cell.paper]
            for row in self.rows
            for column, cell in row.cells.items()
        ]
        return pl.DataFrame(values, schema=columns, orient="row")

    def to_json(self) -> str:
        """The text of the table's file; `from_json` reads it."""
        fields = dataclasses.asdict(self)
        optional = {name: fields.pop(name) for name in _OPTIONAL}
        table: dict[str, Any] = {}
        for name, value in fields.items():
            if name == "users":  # the optional fields come between the data and their users
                table |= {key: optional_value for key, optional_value in optional.items() if optional_value is not None}
            table[name] = value
        return json.dumps(table, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PaperTable:
        """Reads what `to_json` wrote."""
        table = json.loads(text)
        rows = [
            TableRow(row["row"], {name: Cell(tuple(c["ours"]), c["paper"]) for name, c in row["cells"].items()})
            for row in table["rows"]
        ]
        intervals = [
            PairedInterval(**interval) if "n_users" in interval else TextInterval(**interval)
            for interval in table["intervals"]
        ]
        contradictions = {row: tuple(columns) for row, columns in table["contradictions"].items()}
        table |= {name: tuple(table[name]) for name in ("columns", "seeds", "users", "lists", "printed")}
        table |= {name: tuple((first, second) for first, second in table[name]) for name in ("notes", "settings")}
        table |= {"rows": tuple(rows), "intervals": tuple(intervals), "contradictions": contradictions}
        return cls(**table)


_OPTIONAL = tuple(field.name for field in dataclasses.fields(PaperTable) if field.default is None)
