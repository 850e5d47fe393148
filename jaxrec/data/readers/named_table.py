"""A table with named columns whose rows can be traced to lines of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import polars as pl

from jaxrec.data.source_file import SourceFile


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """Columns of a file, and a map from rows to lines.

    Attributes:
      source: the file.
      frame: the columns, strings (Parquet: of any type), null where a field is empty.
      line_of: maps a row, counted from 0, to its line, counted from 1.
    """

    source: SourceFile
    frame: pl.DataFrame
    line_of: Callable[[int], int]

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raises a ValueError that names the line of a row."""
        self.source.fail(self.line_of(row), problem)
