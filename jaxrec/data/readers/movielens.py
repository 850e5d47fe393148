"""MovieLens' files without a header: u.data of 100K and ratings.dat of 1M and 10M."""

from __future__ import annotations

import re

import polars as pl

from jaxrec.data.readers.columns import events_of
from jaxrec.data.readers.delimited import read_delimited
from jaxrec.data.readers.reader import Reader
from jaxrec.data.source_file import SourceFile

COLUMNS = ["user", "item", "rating", "time"]


def read_tabs(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Events of u.data."""
    return events_of(read_delimited(source, "\t", quoted=False, names=COLUMNS), columns)


def read_double_colons(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Events of ratings.dat."""
    return events_of(read_delimited(source, "::", quoted=False, names=COLUMNS), columns)


def is_four_numbers(source: SourceFile) -> bool:
    """Whether the first line is four numbers with tabs between them."""
    fields = source.first_line().split("\t")
    return len(fields) == len(COLUMNS) and all(re.fullmatch(r"-?\d+(\.\d+)?", field) for field in fields)


TABS = Reader("u.data: user, item, rating, time with tabs between them", read_tabs, recognises=is_four_numbers)
DOUBLE_COLONS = Reader(
    "ratings.dat: user::item::rating::time",
    read_double_colons,
    recognises=lambda source: source.first_line().count("::") >= 2,
)
