"""Titles of items, from the files that come with the events."""

from __future__ import annotations

import pathlib

import polars as pl

from jaxrec.data.readers.columns import COLUMN_NAMES
from jaxrec.data.readers.delimited import guess_separator, read_delimited
from jaxrec.data.readers.json_lines import read_json_lines
from jaxrec.data.source_file import SourceFile, open_source

TITLE_NAMES = ("title", "movietitle", "itemtitle", "itemname", "name", "artistname")


def read_titles(path: pathlib.Path) -> dict[str, str]:
    """Titles by item name, from RecBole .item, MovieLens u.item, movies.dat or movies.csv, JSON lines (Amazon's
    metadata), or any table with named columns; plain or gzip. The old MovieLens files are read as latin-1.

    Raises:
      ValueError: the file has no column of items or titles, or can't be read; the message names the line.
    """
    source = open_source(path, encodings=("utf-8", "latin-1"))
    line = source.first_line()
    if line.startswith("{"):
        table = read_json_lines(source, lambda keys: list(_columns(source, keys)))
    elif "::" in line:
        table = read_delimited(source, "::", quoted=False, names=["item", "title", "genres"])
    elif line.count("|") > 2:
        width = line.count("|") + 1
        names = ["item", "title", *(f"field{i}" for i in range(2, width))]
        table = read_delimited(source, "|", quoted=False, names=names)
    else:
        open_source(path)  # raises unless UTF-8: only the two formats above come in latin-1
        separator = guess_separator(line)
        table = read_delimited(source, separator, quoted=separator != "\t")
    item, title = _columns(source, table.frame.columns)
    frame = table.frame.select(pl.col(item).cast(pl.String), pl.col(title).cast(pl.String)).drop_nulls()
    return dict(frame.iter_rows())


def _columns(source: SourceFile, names: list[str]) -> tuple[str, str]:
    plain = {name.lower().replace("_", ""): name for name in reversed(names)}
    items = [plain[name] for name in (*COLUMN_NAMES["item"], "id") if name in plain]
    titles = [plain[name] for name in TITLE_NAMES if name in plain]
    for role, matches in (("item", items), ("title", titles)):
        if not matches:
            source.fail(1, f"no column is the {role}; the columns are {', '.join(names)}")
    return items[0], titles[0]
