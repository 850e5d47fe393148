"""JSON lines: Amazon's reviews of 2014, 2018 and 2023, or any objects with named fields."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl

from jaxrec.data.readers.columns import assign_columns, events_of
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.reader import Reader
from jaxrec.data.source_file import SourceFile


def read_json_lines(source: SourceFile, choose: Callable[[list[str]], list[str]]) -> NamedTable:
    """Reads one JSON object per line; scalars become strings.

    Args:
      source: the file.
      choose: maps the keys of the first object to those to read.

    Raises:
      ValueError: a line is not a JSON object.
    """
    try:
        first = json.loads(source.first_line())
    except ValueError as error:
        source.fail(1, f"not a JSON object ({error}); old Amazon files hold Python literals: take the 5-core ones")
    columns = choose(list(first))
    try:
        frame = pl.read_ndjson(source.data, schema={name: pl.String for name in columns})
    except pl.exceptions.PolarsError as error:
        _fail_at_bad_line(source)
        raise ValueError(f"{source.path}: not JSON lines that can be read: {error}") from error
    if frame.height != sum(1 for line in source.data.split(b"\n") if line.strip()):
        _fail_at_bad_line(source)
    return NamedTable(source, frame, lambda row: [number for number, _ in source.lines()][row])


def read_events(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Events of JSON lines; only the fields that have a role are read."""
    table = read_json_lines(source, lambda keys: list(assign_columns(source, keys, columns).values()))
    return events_of(table, columns)


def _fail_at_bad_line(source: SourceFile) -> None:
    for number, line in source.lines():
        try:
            is_object = isinstance(json.loads(line), dict)
        except ValueError:
            is_object = False
        if not is_object:
            source.fail(number, "not a JSON object")


READER = Reader(
    "a JSON object a line, Amazon reviews of 2014, 2018 and 2023 or any with named columns",
    read_events,
    recognises=lambda source: source.first_line().startswith("{"),
)
