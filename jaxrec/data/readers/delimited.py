"""Text tables under a header or with columns by position, and RecBole's atomic files under a typed header."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from jaxrec.data.readers import delimited_text
from jaxrec.data.readers.columns import COLUMN_NAMES, assign_columns, converted, events_of, plain, positions
from jaxrec.data.readers.delimited_text import header_names, read_delimited, records
from jaxrec.data.readers.dialect import BLANKS, Dialect
from jaxrec.data.readers.named_table import BadRows, NamedTable
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.source_file import SourceFile
from jaxrec.text import quoted
from jaxrec.types import DataError

SEPARATORS = {
    "tab": "\t",
    "\\t": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "colons": "::",
    "blanks": BLANKS,
    "space": BLANKS,
}
"""Words for separators, beside the characters themselves."""
FOUND = ("\t", ",", ";", "|")
"""Separators that are found in a header; of two that occur as often, the first."""


def separator_of(options: ReadOptions) -> str | None:
    """The separator that the user named, None to find it.

    Raises:
      ValueError: it can't be one.
    """
    if options.separator == "auto":
        return None
    separator = SEPARATORS.get(options.separator, options.separator)
    if not separator or re.search(r'[\w"\r\n]', separator) or not separator.isascii():
        raise ValueError(
            f"separator={quoted(options.separator)} can't be one; give a character as , or one of"
            f" {', '.join(SEPARATORS)}"
        )
    return separator


def guess_separator(line: str) -> str:
    """The separator of a table's first line: the most frequent outside quotation, else "::" or blanks."""
    line = re.sub(r'"[^"]*"', "", line)
    best = max(FOUND, key=line.count)
    if best in line:
        return best
    return "::" if "::" in line else BLANKS


def dialect_of(separator: str, *, has_comments: bool = True) -> Dialect:
    """How a table with a separator is written: only what one character other than a tab separates is quoted."""
    return Dialect(
        separator, is_quoted=len(separator) == 1 and separator not in ("\t", BLANKS), has_comments=has_comments
    )


def read_table(
    source: SourceFile,
    dialect: Dialect,
    options: ReadOptions,
    names: list[str] | None = None,
    roles: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Events of a text table.

    Args:
      source: the file.
      dialect: how it is written.
      options: the user's.
      names: of the columns, where the file has no header; None takes the first record's fields.
      roles: {role: column}; None assigns them by the names of the columns.
    """
    notes = len(source.notes)
    try:
        frame = _read_typed(source, dialect, options, names, roles)
        if frame is not None:
            return frame
    except (DataError, BadRows):  # which the texts tell better than numbers
        pass
    del source.notes[notes:]
    header_line = source.first(comments=dialect.has_comments)[0] if names is None else None
    return events_of(read_delimited(source, dialect, names), options, roles=roles, header_line=header_line)


def _read_typed(
    source: SourceFile,
    dialect: Dialect,
    options: ReadOptions,
    names: list[str] | None,
    roles: Mapping[str, str] | None,
) -> pl.DataFrame | None:
    """`read_table` where numbers are read as such, and columns without a role not at all; None where that can't be."""
    first = list(itertools.islice(records(source, dialect), 2 if names is None else 1))
    if len(first) < (2 if names is None else 1):
        return None
    header_line = first[0].line if names is None else None
    columns = header_names(source, first[0]) if names is None else names
    roles = roles or assign_columns(source, columns, options.columns, line=first[0].line)
    example = dict(zip(columns, first[-1].fields))
    kinds = {column: _kind(role, example.get(column, "")) for role, column in roles.items()}
    start = first[0].end if names is None else first[0].start
    # A line with too few fields has none in the last column; where that may be empty, all columns are read.
    frame = delimited_text.read_fast(source, dialect, columns, start, {columns[-1]: pl.String} | kinds)
    if frame is not None and frame.width < len(columns) and frame[columns[-1]].has_nulls():
        frame = delimited_text.read_fast(source, dialect, columns, start, dict.fromkeys(columns, pl.String) | kinds)
    if frame is None or len(kinds) < len(roles):  # a column with two roles
        return None
    table = NamedTable(source, frame, lambda row: row)
    return converted(table, options, roles, header_line)


def _kind(role: str, example: str) -> Any:
    """The type to read a column as, by a field of it."""
    if role == "rating":
        return pl.Float64
    if role == "time" and re.fullmatch(r"-?\d{1,18}", example):
        return pl.Int64
    return pl.Float64 if role == "time" and re.fullmatch(r"-?\d+\.\d+", example) else pl.String


def read_csv(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of a table under a header, or of one without it whose columns are given by position."""
    line, first = source.first(comments=True)
    dialect = dialect_of(separator_of(options) or guess_separator(first))
    n_comments = sum(text.startswith(b"#") for text in source.data.split(b"\n", line - 1)[: line - 1])
    if n_comments:
        source.note(f"{n_comments} lines that begin with # stand before the table and were left out")
    places = positions(options.columns)
    if places is None:
        return read_table(source, dialect, options)
    record = next(records(source, dialect))
    width = len(record.fields)
    for role, place in places.items():
        if place >= width:
            source.fail(record.line, f"{role}={place + 1} is given, and the line has {width} fields")
        if plain(record.fields[place]) in COLUMN_NAMES[role]:
            source.fail(record.line, "a header, while columns are given by position: name them, or remove this line")
    names = [str(place + 1) for place in range(width)]
    return read_table(source, dialect, options, names, {role: str(place + 1) for role, place in places.items()})


def read_recbole(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of RecBole's atomic .inter file."""
    return read_table(source, Dialect("\t"), options)


def has_typed_header(source: SourceFile) -> bool:
    """Whether the first line is a header of RecBole's, "user_id:token"."""
    return re.match(r"[^\t]*:(token|token_seq|float|float_seq)(\t|$)", source.first_line()) is not None


def is_table(source: SourceFile) -> bool:
    """Whether the first line that is no comment holds a separator of `FOUND`, but not as in "user: item, item"."""
    line = source.first(comments=True)[1]
    return any(mark in line for mark in FOUND) and not re.fullmatch(r'[^,:"]+:( [^,:"]+,)+ [^,:"]+', line)


CSV = Reader(
    "a table with commas, semicolons, tabs or pipes under a header (MovieLens ratings.csv, Amazon 2023, any)",
    read_csv,
    recognises=is_table,
    sign="its first line holds commas, semicolons, tabs or pipes",
)
RECBOLE = Reader(
    "atomic .inter: a tab-separated table under a typed header, user_id:token ...",
    read_recbole,
    recognises=has_typed_header,
    sign="its first line names a type, as user_id:token does",
)
