"""MovieLens' files without a header: u.data of 100K and ratings.dat of 1M and 10M."""

from __future__ import annotations

import re

import polars as pl

from jaxrec.data.readers.delimited import read_table
from jaxrec.data.readers.dialect import BLANKS, Dialect
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.source_file import SourceFile

COLUMNS = ["user", "item", "rating", "time"]
EARLIEST = 10**8
"""Seconds since 1970; a fourth number below it, after blanks, is an item of a sequence rather than a time."""


def read_numbers(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of u.data, with tabs or blanks."""
    separator = "\t" if "\t" in source.first_line() else BLANKS
    return read_table(source, Dialect(separator), options, COLUMNS)


def read_double_colons(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of ratings.dat."""
    return read_table(source, Dialect("::"), options, COLUMNS)


def is_four_numbers(source: SourceFile) -> bool:
    """Whether the first line is four numbers with tabs between them, or with blanks if the last can be a time."""
    line = source.first_line()
    fields = line.split("\t") if "\t" in line else re.split(" +", line)
    if len(fields) != len(COLUMNS) or not all(re.fullmatch(r"-?\d+(\.\d+)?", field) for field in fields):
        return False
    return "\t" in line or float(fields[-1]) >= EARLIEST


NUMBERS = Reader(
    "u.data: user, item, rating, time with tabs or blanks between them",
    read_numbers,
    recognises=is_four_numbers,
    sign="its first line is four numbers with tabs or blanks between them",
)
DOUBLE_COLONS = Reader(
    "ratings.dat: user::item::rating::time",
    read_double_colons,
    recognises=lambda source: source.first_line().count("::") >= 2,
    sign="its first line holds :: twice or more",
)
