"""Text tables under a header or with columns by position, and RecBole's atomic files under a typed header."""

from __future__ import annotations

import re

import polars as pl

from jaxrec.data.readers.columns import COLUMN_NAMES, events_of, plain, positions
from jaxrec.data.readers.delimited_text import BLANKS, Dialect, read_delimited, records
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.source_file import SourceFile
from jaxrec.text import quoted

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


def read_csv(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of a table under a header, or of one without it whose columns are given by position."""
    line, first = source.first(comments=True)
    dialect = dialect_of(separator_of(options) or guess_separator(first))
    n_comments = sum(text.startswith(b"#") for text in source.data.split(b"\n", line - 1)[: line - 1])
    if n_comments:
        source.note(f"{n_comments} lines that begin with # stand before the table and were left out")
    places = positions(options.columns)
    if places is None:
        return events_of(read_delimited(source, dialect), options, header_line=line)
    record = next(records(source, dialect))
    width = len(record.fields)
    for role, place in places.items():
        if place >= width:
            source.fail(record.line, f"{role}={place + 1} is given, and the line has {width} fields")
        if plain(record.fields[place]) in COLUMN_NAMES[role]:
            source.fail(record.line, "a header, while columns are given by position: name them, or remove this line")
    table = read_delimited(source, dialect, [str(place + 1) for place in range(width)])
    return events_of(table, options, roles={role: str(place + 1) for role, place in places.items()})


def read_recbole(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of RecBole's atomic .inter file."""
    return events_of(read_delimited(source, Dialect("\t")), options, header_line=source.first()[0])


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
