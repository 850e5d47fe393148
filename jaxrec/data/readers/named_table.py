"""A table with named columns whose rows can be traced to lines of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import polars as pl

from jaxrec.data.source_file import SourceFile
from jaxrec.text import quoted
from jaxrec.types import DataError

EXAMPLES = 3
"""Of bad rows of one kind, as many are named."""


class BadRows(Exception):
    """Some rows of a table are bad, and are to be left out.

    Attributes:
      rows: bool[N], which.
      problem: what is wrong with a row.
    """

    def __init__(self, rows: pl.Series, problem: Callable[[int], str]) -> None:
        super().__init__()
        self.rows = rows
        self.problem = problem


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """Columns of a file, and a map from rows to lines.

    Attributes:
      source: the file.
      frame: the columns, strings (Parquet: of any type), null or "" where a field is empty.
      line_of: maps a row, counted from 0, to its line, counted from 1.
      plain: columns of texts that `values.are_plain` has seen.
    """

    source: SourceFile
    frame: pl.DataFrame
    line_of: Callable[[int], int]
    plain: frozenset[str] = frozenset()

    def refuse(self, bad: pl.Series, problem: Callable[[int], str]) -> None:
        """Refuses the rows of a mask, which may be none.

        Args:
          bad: bool[N].
          problem: what is wrong with a row.
        Raises:
          DataError: there is one, and the source skips no bad rows; names the line of the first.
          BadRows: there is one, and the source skips them.
        """
        if not bad.any():
            return
        if not self.source.skips_bad_rows:
            row = int(bad.arg_max() or 0)
            self.fail(row, problem(row))
        raise BadRows(bad, problem)

    def without(self, bad: BadRows) -> NamedTable:
        """The table without bad rows, which the source counts."""
        is_bad = bad.rows.fill_null(False).to_numpy()
        rows, kept = np.flatnonzero(is_bad), np.flatnonzero(~is_bad)
        for row in rows[:EXAMPLES].tolist():
            self.source.refuse(self.line_of(row), bad.problem(row))
        self.source.skipped.others += max(len(rows) - EXAMPLES, 0)
        return NamedTable(self.source, self.frame[kept], lambda row: self.line_of(int(kept[row])), self.plain)

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raises a DataError that names the line of a row."""
        self.source.fail(self.line_of(row), problem)

    def refuse_column(self, column: str, role: str, kind: str, wanted: str) -> NoReturn:
        """Raises a DataError that names a column's type."""
        raise DataError(
            f"{self.source.path}: the {role} (column {quoted(column)}) is of the type {kind}; {wanted}. Convert it, or"
            f" name another column: --data.columns {role}=..."
        )
