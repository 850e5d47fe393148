"""Rows of a file of items: an item's name, and the texts that it has in some columns."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from jaxrec.data.item_file import GENRES, U_ITEM, ItemFile, item_column, shown_columns
from jaxrec.data.readers import values
from jaxrec.data.readers.delimited_text import read_delimited, records
from jaxrec.data.readers.json_objects import LOOKED_AT, keys_of, look_up, objects, refuse_half
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.parquet import read_columns
from jaxrec.data.readers.values import name_of
from jaxrec.data.source_file import NoEvents, SourceFile
from jaxrec.text import listed, quoted
from jaxrec.types import DataError

SEQUENCE = (":token_seq", ":float_seq")
"""How RecBole's headers mark a column of several values, between blanks."""
Row = tuple[str, list[list[str]]]
"""An item, and the texts that it has in each column."""


def item_rows(file: ItemFile, names: Sequence[str]) -> Iterator[Row]:
    """The rows of a file.

    Args:
      file: of items.
      names: of columns; in JSON also nested ones, "details.Brand", and in MovieLens' u.item also "genres".
    Raises:
      DataError: the file can't be read, or has no column of items or none of those named; the message names the line.
    """
    source = file.source
    if file.dialect is None:
        return _parquet_rows(source, names) if source.is_binary else _json_rows(source, names)
    table = read_delimited(source, file.dialect, None if file.names is None else list(file.names))
    has_genres = file.names == U_ITEM
    _refuse_missing(source, names, table.frame.columns + ["genres"] * has_genres)
    if has_genres and "genres" in names:
        table = _with_genres(table)
    return _table_rows(table, item_column(source, table.frame.columns), names)


def sequence_columns(file: ItemFile) -> set[str]:
    """The columns of several values between blanks, by the types in RecBole's header."""
    if file.dialect is None or file.names is not None:
        return set()
    header = [field.strip() for field in next(records(file.source, file.dialect)).fields]
    return {field.rpartition(":")[0] for field in header if field.endswith(SEQUENCE)}


def _refuse_missing(source: SourceFile, names: Sequence[str], present: list[str]) -> None:
    for name in names:
        if name not in present:
            source.fail(1, f"there is no column {quoted(name)} of attributes; the columns are {shown_columns(present)}")


def _with_genres(table: NamedTable) -> NamedTable:
    """The table of u.item with a column of the genres whose fields are 1."""
    for genre in GENRES:
        bad = ~table.frame[genre].is_in(["0", "1"])
        table.refuse(
            bad, lambda row, genre=genre: f"{quoted(table.frame[genre][row])} of the genre {genre} is not 0 or 1"
        )
    flags = table.frame.select(GENRES).rows()
    genres = [[genre for genre, flag in zip(GENRES, own, strict=True) if flag == "1"] for own in flags]
    return dataclasses.replace(table, frame=table.frame.with_columns(pl.Series("genres", genres, pl.List(pl.String))))


def _table_rows(table: NamedTable, item: str, names: Sequence[str]) -> Iterator[Row]:
    items = values.names(table, "item", table.frame[item]).to_list()
    cells = [table.frame[name].to_list() for name in names]
    for row, name in enumerate(items):
        yield name, [list(_texts(column[row])) for column in cells]


def _parquet_rows(source: SourceFile, names: Sequence[str]) -> Iterator[Row]:
    roles = {}

    def choose(schema: pa.Schema) -> dict[str, str]:
        _refuse_missing(source, names, schema.names)
        for name in names:
            kind = schema.field(name).type
            while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_dictionary(kind):
                kind = kind.value_type
            if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                wanted = "texts, numbers or lists of them are wanted"
                raise DataError(f"{source.path}: the column {quoted(name)} is of the type {quoted(kind)}; {wanted}")
        roles.update({"item": item_column(source, schema.names)} | {f"attribute {name}": name for name in names})
        return roles

    table = read_columns(source, choose)
    return _table_rows(table, roles["item"], names)


def _json_rows(source: SourceFile, names: Sequence[str]) -> Iterator[Row]:
    first = [value for _, value in itertools.islice(objects(source), LOOKED_AT)]
    if not first:
        raise NoEvents(source.message(1, "the array is empty"))
    keys = dict.fromkeys(key for value in first for key in keys_of(value))
    item = item_column(source, list(keys))
    missing = [name for name in names if name not in keys]
    for line, value in objects(source):
        if missing:  # some columns are rare
            own = set(keys_of(value))
            missing = [name for name in missing if name not in own]
        cells = [list(_texts(_json_value(source, line, key, value), source, line, key)) for key in names]
        try:
            name = name_of(_json_value(source, line, item, value)).strip()
        except ValueError as error:
            source.fail(line, f"the item (key {quoted(item)}): {error}")
        if not name:
            source.fail(line, f"the item is missing (key {quoted(item)})")
        yield name, cells
    _refuse_missing(source, missing, list(keys))


def _json_value(source: SourceFile, line: int, key: str, value: dict[str, Any]) -> Any:
    cell, repeats = look_up(value, key)
    if repeats:
        source.fail(line, f"the key {quoted(key)} is there more than once")
    return cell


def _texts(cell: Any, source: SourceFile | None = None, line: int = 0, key: str = "") -> Iterator[str]:
    """The texts in a cell: none in null, those of all elements of a list, numbers as they are written."""
    if isinstance(cell, str):
        if source is not None:
            refuse_half(source, line, "attribute", key, cell)
        yield cell
    elif isinstance(cell, list):
        for element in cell:
            yield from _texts(element, source, line, key)
    elif isinstance(cell, dict) and source is not None:
        inner = list(cell)
        advice = f"; name one of them: --data.attributes {key}.{inner[0]}" if inner else ""
        source.fail(line, f"the attribute (key {quoted(key)}) is an object with the keys {listed(inner)}{advice}")
    elif isinstance(cell, bool):
        yield str(cell).lower()
    elif isinstance(cell, float):
        if cell == cell:
            yield str(int(cell)) if cell.is_integer() else repr(cell)
    elif cell is not None:
        yield str(cell)
