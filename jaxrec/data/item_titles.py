"""What people read for an item: names of items and their titles, from the files that come beside the events."""

from __future__ import annotations

import pathlib

import polars as pl

from jaxrec.data import tables
from jaxrec.data.readers import NAMES, separator
from jaxrec.data.source_file import SourceFile, open_source

TITLE_NAMES = ("title", "movietitle", "itemtitle", "itemname", "name", "artistname")


def read_titles(path: pathlib.Path) -> dict[str, str]:
    """Titles by item name, from RecBole .item, MovieLens u.item, movies.dat or movies.csv, JSON lines (Amazon's
    metadata), or any table with named columns; plain or gzip. The old MovieLens files are latin-1, and read as such.

    Raises:
      ValueError: the file has no column of items or titles, or can't be read; names the line.
    """
    source = open_source(path, encodings=("utf-8", "latin-1"))
    line = source.first_line()
    if line.startswith("{"):
        table = tables.json_lines(source, lambda keys: list(_columns(source, keys)))
    elif "::" in line:
        table = tables.delimited(source, "::", quoted=False, names=["item", "title", "genres"])
    elif line.count("|") > 2:
        width = line.count("|") + 1
        names = ["item", "title", *(f"field{i}" for i in range(2, width))]
        table = tables.delimited(source, "|", quoted=False, names=names)
    else:
        open_source(path)  # only those two are known to be latin-1; elsewhere it is a mistake
        mark = separator(line)
        table = tables.delimited(source, mark, quoted=mark != "\t")
    item, title = _columns(source, table.frame.columns)
    frame = table.frame.select(pl.col(item).cast(pl.String), pl.col(title).cast(pl.String)).drop_nulls()
    return dict(frame.iter_rows())


def _columns(source: SourceFile, names: list[str]) -> tuple[str, str]:
    plain = {name.lower().replace("_", ""): name for name in reversed(names)}
    items = [plain[name] for name in (*NAMES["item"], "id") if name in plain]
    titles = [plain[name] for name in TITLE_NAMES if name in plain]
    for what, found in (("item", items), ("title", titles)):
        if not found:
            source.fail(1, f"no column is the {what}; the columns are {', '.join(names)}")
    return items[0], titles[0]
