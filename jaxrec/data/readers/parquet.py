"""Parquet files with named columns."""

from __future__ import annotations

import io

import polars as pl

from jaxrec.data.readers.columns import events_of
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.reader import Reader
from jaxrec.data.source_file import SourceFile


def read_parquet(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Events of a Parquet file; its "lines" are its rows, counted from 1.

    Raises:
      ValueError: the file is damaged, or has no column of users or items.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(source.data))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{source.path}: a damaged Parquet file: {error}") from error
    return events_of(NamedTable(source, frame, lambda row: row + 1), columns)


READER = Reader("a Parquet file with named columns", read_parquet, magic=b"PAR1")
