"""The readers by format name; `DataConfig.format` selects one."""

from __future__ import annotations

import pathlib

import polars as pl

from jaxrec.data.readers import delimited, json_lines, movielens, parquet, sequence
from jaxrec.data.readers.columns import parse_columns
from jaxrec.data.readers.reader import Reader
from jaxrec.data.source_file import SourceFile, open_source

# Formats are tried from last to first, so the most general readers are at the top.
READERS: dict[str, Reader] = {
    "sequence": sequence.READER,
    "csv": delimited.CSV,
    "movielens-100k": movielens.TABS,
    "movielens-dat": movielens.DOUBLE_COLONS,
    "recbole": delimited.RECBOLE,
    "json": json_lines.READER,
    "parquet": parquet.READER,
}


def reader(format: str) -> Reader:
    """The reader of a format.

    Raises:
      ValueError: the format is unknown; the message lists all.
    """
    if format not in READERS:
        formats = "; ".join(f"{name} ({entry.title})" for name, entry in READERS.items())
        raise ValueError(f"format={format!r} is not known; there are: {formats}")
    return READERS[format]


def recognise(source: SourceFile) -> str:
    """The format of a file, by its first bytes and its first line."""
    for name, entry in reversed(READERS.items()):
        if entry.magic and source.data.startswith(entry.magic):
            return name
        if not source.is_binary and entry.recognises(source):
            return name
    raise ValueError(f"{source.path}: of no known format; name it with --data.format: {', '.join(READERS)}")


def read_events(path: pathlib.Path, format: str = "auto", columns: tuple[str, ...] = ()) -> pl.DataFrame:
    """Events of a file, plain or gzip.

    Args:
      path: the file.
      format: a key of READERS, or "auto": recognised from the content.
      columns: "role=column" for columns of a table whose names `columns.COLUMN_NAMES` does not list.

    Returns:
      The frame that `Reader.read` describes, in the file's order.

    Raises:
      ValueError: the file can't be read as that format; the message names the line and shows its start.
    """
    source = open_source(path, magics=tuple(entry.magic for entry in READERS.values() if entry.magic))
    name = recognise(source) if format == "auto" else format
    return reader(name).read(source, parse_columns(columns))
