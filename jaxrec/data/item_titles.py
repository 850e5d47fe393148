"""Titles of items, from the files that come with the events."""

from __future__ import annotations

import dataclasses
import pathlib

import polars as pl

from jaxrec.data.readers import values
from jaxrec.data.readers.columns import COLUMN_NAMES, plain
from jaxrec.data.readers.delimited import dialect_of, guess_separator
from jaxrec.data.readers.delimited_text import Dialect, read_delimited
from jaxrec.data.readers.json_objects import is_json, read_json
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.source_file import UNPACK_MIB, SourceFile, open_source
from jaxrec.text import listed

TITLE_NAMES = ("title", "movietitle", "itemtitle", "itemname", "name", "artistname")


@dataclasses.dataclass(frozen=True)
class Titles:
    """Titles of a file.

    Attributes:
      of: {item name: title}, the first title where an item has several.
      several: number of items that have different titles.
    """

    of: dict[str, str]
    several: int


def read_titles(path: pathlib.Path, *, encoding: str = "auto", unpack_mib: int = UNPACK_MIB) -> Titles:
    """Titles by item name, from RecBole .item, MovieLens u.item, movies.dat or movies.csv, JSON (Amazon's metadata), or
    any table with named columns; plain or compressed. The old MovieLens files are read as latin-1.

    Args:
      path: the file.
      encoding: of text; "auto" is UTF-8, or UTF-16 where the file begins with its mark.
      unpack_mib: the most MiB that a compressed file may unpack to.

    Raises:
      DataError: the file has no column of items or titles, or can't be read; the message names the line.
    """
    encodings = ("utf-8", "latin-1") if encoding == "auto" else (encoding,)
    source = open_source(path, encodings=encodings, unpack_mib=unpack_mib)
    _, line = source.first(comments=True)
    if is_json(source):
        table = read_json(source, lambda keys: dict(zip(("item", "title"), _columns(source, keys))))
    elif "::" in line:
        table = read_delimited(source, Dialect("::"), ["item", "title", "genres"])
    elif line.count("|") > 2 and not _is_header(line.split("|")):
        width = line.count("|") + 1
        table = read_delimited(source, Dialect("|"), ["item", "title", *(f"field{i}" for i in range(2, width))])
    else:
        if encoding == "auto":
            open_source(path, unpack_mib=unpack_mib)  # raises unless UTF-8: only the two formats above are latin-1
        table = read_delimited(source, dialect_of(guess_separator(line)))
    return _titles(table, *_columns(source, table.frame.columns))


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


def _is_header(fields: list[str]) -> bool:
    return any(plain(field) in (*COLUMN_NAMES["item"], *TITLE_NAMES, "id") for field in fields)


def _columns(source: SourceFile, names: list[str]) -> tuple[str, str]:
    by_plain_name = {plain(name): name for name in reversed(names)}
    items = [by_plain_name[name] for name in (*COLUMN_NAMES["item"], "id") if name in by_plain_name]
    titles = [by_plain_name[name] for name in TITLE_NAMES if name in by_plain_name]
    for role, matches in (("item", items), ("title", titles)):
        if not matches:
            shown = ", ".join(names)
            source.fail(1, f"no column is the {role}; the columns are {shown if len(shown) <= 200 else listed(names)}")
    return items[0], titles[0]
