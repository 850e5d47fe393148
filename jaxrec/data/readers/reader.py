"""The record of a file format: how it is recognised and how its events are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import polars as pl

from jaxrec.data.readers.times import TimeUnit
from jaxrec.data.source_file import SourceFile


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What the user says about a file instead of having it guessed.

    Attributes:
      columns: {role: column}; a column is a name, of JSON also nested ("time.$date"), or in a file without a header a
        position, counted from 1.
      separator: between the fields of a text table, "auto" to find it.
      time_unit: of times that are numbers.
      skip_bad_rows: whether rows that can't be read are left out and counted.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    separator: str = "auto"
    time_unit: TimeUnit = "auto"
    skip_bad_rows: bool = False


def _never(source: SourceFile) -> bool:
    del source
    return False


@dataclasses.dataclass(frozen=True)
class Reader:
    """A file format of events; to add one, write a module with such a record and add a line to the registry.

    Attributes:
      title: what a file of this format looks like; error messages list it.
      read: read(source, options) -> one row per event, in the file's order. The frame has the columns user and item
        (strings) and, where the file has them, rating f64, time i64 (milliseconds since 1970), review and summary
        (strings). Without `time`, rows must be in the order of the events, oldest
        first. `source.fail(line, problem)` raises the error that names the line, `source.refuse(line, problem)` does
        so, too, unless bad rows are to be skipped, `source.note(sentence)` says what was changed or left out. A format
        whose columns have names makes a `NamedTable` of them, and `columns.events_of` does the rest.
      recognises: recognises(source) -> whether the file is of this format; used if the user named none.
      sign: by what, for messages: "its first line holds ...".
      magic: first bytes of every file of a binary format, by which it is recognised. `read` gets binary files as
        they are; files of other formats as UTF-8.
    """

    title: str
    read: Callable[[SourceFile, ReadOptions], pl.DataFrame]
    recognises: Callable[[SourceFile], bool] = _never
    sign: str = "its first line looks like it"
    magic: bytes = b""
