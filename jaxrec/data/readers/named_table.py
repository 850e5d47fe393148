"""A table with named columns whose rows can be traced to lines of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import polars as pl

from jaxrec.data.source_file import SourceFile
from jaxrec.text import quoted
from jaxrec.types import DataError


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """Columns of a file, and a map from rows to lines.

    Attributes:
      source: the file.
      frame: the columns, strings (Parquet: of any type), null or "" where a field is empty.
      line_of: maps a row, counted from 0, to its line, counted from 1.
      may_hold_nul: whether a text may hold NUL; those of a text file that escapes nothing can't.
    """

    source: SourceFile
    frame: pl.DataFrame
    line_of: Callable[[int], int]
    may_hold_nul: bool = False

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raises a DataError that names the line of a row."""
        self.source.fail(self.line_of(row), problem)

    def refuse_column(self, column: str, role: str, kind: str, wanted: str) -> NoReturn:
        """Raises a DataError that names a column's type."""
        raise DataError(
            f"{self.source.path}: the {role} (column {quoted(column)}) is of the type {kind}; {wanted}. Convert it, or"
            f" name another column: --data.columns {role}=..."
        )
