"""The record of a file format: how it is recognised and how its events are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import polars as pl

from jaxrec.data.source_file import SourceFile


def _never(source: SourceFile) -> bool:
    del source
    return False


@dataclasses.dataclass(frozen=True)
class Reader:
    """A file format of events; to add one, write a module with such a record and add a line to the registry.

    Attributes:
      title: what a file of this format looks like; error messages list it.
      read: read(source, columns) -> one row per event, in the file's order. `columns` is {role: column} as the user
        named them, for formats whose columns have names. The frame has the columns user and item (strings) and,
        where the file has them, rating f64, time i64 (milliseconds since 1970), review and summary (strings). Without
        `time`, rows must be in the order of the events, oldest first. `source.fail(line, problem)`
        raises the error that names the line.
      recognises: recognises(source) -> whether the file is of this format; used if the user named none.
      magic: first bytes of every file of a binary format, by which it is recognised. `read` gets binary files as
        they are; files of other formats must be UTF-8.
    """

    title: str
    read: Callable[[SourceFile, dict[str, str]], pl.DataFrame]
    recognises: Callable[[SourceFile], bool] = _never
    magic: bytes = b""
