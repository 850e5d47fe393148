"""Titles of items, from the files that come with the events."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import polars as pl

from jaxrec.data.item_file import item_column, open_items, shown_columns, title_column
from jaxrec.data.readers import values
from jaxrec.data.readers.delimited_text import read_delimited
from jaxrec.data.readers.json_objects import read_json
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.parquet import read_columns
from jaxrec.data.source_file import UNPACK_MIB


@dataclasses.dataclass(frozen=True)
class Titles:
    """Titles of a file.

    Attributes:
      of: {item name: title}, the first title where an item has several.
      several: number of items that have different titles.
    """

    of: dict[str, str]
    several: int


def read_titles(
    path: pathlib.Path, *, encoding: str = "auto", unpack_mib: int = UNPACK_MIB, required: bool = True
) -> Titles:
    """Titles by item name, from a file that `jaxrec.data.item_file.open_items` opens.

    Args:
      path: the file.
      encoding: of text; "auto" is UTF-8, or UTF-16 where the file begins with its mark.
      unpack_mib: the most MiB that a compressed file may unpack to.
      required: whether the file has to have a column of titles; a file without one gives none otherwise.

    Raises:
      DataError: the file has no column of items or titles, or can't be read; the message names the line.
    """
    file = open_items(path, encoding=encoding, unpack_mib=unpack_mib)
    source, columns = file.source, {}

    def choose(names: list[str]) -> Mapping[str, str]:
        columns["item"], title = item_column(source, names), title_column(names)
        if title is not None:
            columns["title"] = title
        elif required:
            source.fail(1, f"no column is the title; the columns are {shown_columns(names)}")
        return columns

    if source.is_binary:
        table = read_columns(source, lambda schema: choose(schema.names))
    elif file.dialect is None:
        table = read_json(source, choose)
    else:
        table = read_delimited(source, file.dialect, None if file.names is None else list(file.names))
        choose(table.frame.columns)
    return _titles(table, columns["item"], columns["title"]) if "title" in columns else Titles({}, 0)


def _titles(table: NamedTable, item: str, title: str) -> Titles:
    frame = pl.DataFrame(
        {
            "item": values.names(table, "item", table.frame[item]),
            "title": values.texts(table, "title", table.frame[title]).str.strip_chars(),
        }
    ).filter(pl.col("title") != "")
    first = frame.unique("item", keep="first", maintain_order=True)
    several = frame.unique().height - first.height
    if several:
        several = int((frame.unique()["item"].value_counts()["count"] > 1).sum())
    return Titles(dict(first.iter_rows()), several)
