"""A table whose columns have names and whose rows remember the lines that they came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import polars as pl

from jaxrec.data.source_file import SourceFile


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """Columns of a file and the way back from a row to its line.

    Attributes:
      source: the file.
      frame: the columns, strings (Parquet: of any type), null where a field is empty.
      line_of: the line of a row; rows are counted from 0, lines from 1.
    """

    source: SourceFile
    frame: pl.DataFrame
    line_of: Callable[[int], int]

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raise a ValueError that names the line of a row."""
        self.source.fail(self.line_of(row), problem)
