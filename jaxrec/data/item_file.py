"""Files of items, one a row: how their lines are cut, and which column holds the item's name."""

from __future__ import annotations

import dataclasses
import pathlib

from jaxrec.data.readers.columns import COLUMN_NAMES, plain
from jaxrec.data.readers.delimited import dialect_of, guess_separator
from jaxrec.data.readers.dialect import Dialect
from jaxrec.data.readers.json_objects import is_json
from jaxrec.data.source_file import SourceFile, open_source
from jaxrec.text import listed

TITLE_NAMES = ("title", "movietitle", "itemtitle", "itemname", "name", "artistname")
PARQUET = b"PAR1"
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Of MovieLens 100K's u.item, whose last fields are 1 for the genres that a film has; its u.genre lists them."""
U_ITEM = ("item", "title", "release_date", "video_release_date", "url", *GENRES)


@dataclasses.dataclass(frozen=True)
class ItemFile:
    """A file of items.

    Attributes:
      source: its content.
      dialect: how its lines are cut; None for JSON and Parquet.
      names: of its columns, where it is a text table without a header.
    """

    source: SourceFile
    dialect: Dialect | None = None
    names: tuple[str, ...] | None = None


def open_items(path: pathlib.Path, *, encoding: str, unpack_mib: int) -> ItemFile:
    """Opens RecBole's .item, MovieLens' u.item, movies.dat or movies.csv, JSON or Python literals (Amazon's metadata),
    Parquet, or any table with named columns; plain or compressed. The old MovieLens files are read as latin-1.

    Args:
      path: the file.
      encoding: of text; "auto" is UTF-8, or UTF-16 where the file begins with its mark.
      unpack_mib: the most MiB that a compressed file may unpack to.
    Raises:
      DataError: the file is empty, damaged, or text in another encoding.
    """
    encodings = ("utf-8", "latin-1") if encoding == "auto" else (encoding,)
    source = open_source(path, encodings=encodings, magics=(PARQUET,), unpack_mib=unpack_mib)
    if source.is_binary:
        return ItemFile(source)
    _, line = source.first(comments=True)
    if is_json(source):
        return ItemFile(source)
    if "::" in line:
        return ItemFile(source, Dialect("::"), ("item", "title", "genres"))
    if line.count("|") > 2 and not _is_header(line.split("|")):
        width = line.count("|") + 1
        names = U_ITEM if width == len(U_ITEM) else ("item", "title", *(f"field{i}" for i in range(2, width)))
        return ItemFile(source, Dialect("|"), names)
    if encoding == "auto":
        open_source(path, unpack_mib=unpack_mib)  # raises unless UTF-8: only the two formats above are latin-1
    return ItemFile(source, dialect_of(guess_separator(line)))


def item_column(source: SourceFile, names: list[str]) -> str:
    """The column of the items' names.

    Raises:
      DataError: there is none.
    """
    column = _first_of((*COLUMN_NAMES["item"], "id"), names)
    if column is None:
        source.fail(1, f"no column is the item; the columns are {shown_columns(names)}")
    return column


def title_column(names: list[str]) -> str | None:
    """The column of titles, None if there is none."""
    return _first_of(TITLE_NAMES, names)


def shown_columns(names: list[str]) -> str:
    """Names of columns for a message: all, or the first where they are many."""
    shown = ", ".join(names)
    return shown if shown.isprintable() and len(shown) <= 200 else listed(names)


def _first_of(candidates: tuple[str, ...], names: list[str]) -> str | None:
    by_plain_name = {plain(name): name for name in reversed(names)}
    return next((by_plain_name[name] for name in candidates if name in by_plain_name), None)


def _is_header(fields: list[str]) -> bool:
    return any(plain(field) in (*COLUMN_NAMES["item"], *TITLE_NAMES, "id") for field in fields)
