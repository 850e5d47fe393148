"""Text tables by polars, where it is known to give what the strict parser in `delimited_text` gives."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from jaxrec.data.readers.bitmaps import after, before, bitmap, count, inside, places, total
from jaxrec.data.readers.dialect import BLANKS, Dialect
from jaxrec.data.source_file import SourceFile

PIECE = 1 << 20
"""Bytes that quotation is looked at in at a time."""
ODD = "odd"
_BLANK_LINE = (re.compile(rb"[ \t]*\r?(?:\n|\Z)"), re.compile(rb" *\r?(?:\n|\Z)"))
"""A line of blanks; the second where tabs separate."""
_STAND_INS = "\x1f\x1e\x1d\x1c\x02"


def read_fast(
    source: SourceFile, dialect: Dialect, names: list[str], start: int, kinds: Mapping[str, Any] | None = None
) -> pl.DataFrame | None:
    """The columns by polars, strings with null for ""; None where the strict parser might see something else.

    Before polars reads, every quotation mark and carriage return is known to be where RFC 4180 wants it and blank
    lines are gone; afterwards the numbers of rows and of separators are those of the bytes.

    Args:
      source: the file.
      dialect: how it is written.
      names: of the columns.
      start: byte at which the first row begins.
      kinds: the columns to read and their types; None: all, as strings. Where a field is not of its type, nothing is
        read.
    """
    data, separator = source.data, dialect.separator.encode()
    if dialect.separator == BLANKS or data.startswith(codecs.BOM_UTF8, start):  # polars would take the mark away
        return None
    if len(separator) > 1:
        stand_in = next((mark.encode() for mark in _STAND_INS if mark.encode() not in data), None)
        if stand_in is None or separator + separator[-1:] in data:
            return None
        data, separator, start = data[start:].replace(separator, stand_in), stand_in, 0
    if not dialect.is_quoted or data.find(b'"', start) < 0:
        return _read_plain(data, separator, names, start, kinds)
    end = _end(data)
    n_rows = _count_quoted_rows(data, separator, len(names), start, end)
    return None if n_rows is None else _read(data, separator, '"', names, (start, end), n_rows, kinds)


def _read_plain(
    data: bytes, separator: bytes, names: list[str], start: int, kinds: Mapping[str, Any] | None
) -> pl.DataFrame | None:
    """`read_fast` where there is no quotation."""
    if data.find(b"\r", start) >= 0 and data.count(b"\r", start) != data.count(b"\r\n", start):
        return None
    end = _end(data)
    for _ in range(2):
        text = np.frombuffer(data, np.uint8)[start:end]
        n_rows = count(text, b"\n") + 1
        if count(text, separator) == n_rows * (len(names) - 1):  # a blank line has no separator
            return _read(data, separator, None, names, (start, end), n_rows, kinds)
        data = _without_blank_lines(data[start:end], separator)
        start, end = 0, len(data)
    return None


def _read(
    data: bytes,
    separator: bytes,
    quote: str | None,
    names: list[str],
    span: tuple[int, int],
    n_rows: int,
    kinds: Mapping[str, Any] | None,
) -> pl.DataFrame | None:
    start, end = span
    if start >= end:
        return None
    # The text ends with a line end, as polars passes over a separator too much where it ends the text.
    n_skipped = 0
    if data[end:] in (b"\n", b"\r\n"):
        n_skipped = data.count(b"\n", 0, start)
    else:
        data = data[start:end] + b"\n"
    try:
        frame = pl.read_csv(
            data,
            separator=separator.decode(),
            quote_char=quote,
            has_header=False,
            skip_lines=n_skipped,
            schema={
                str(place): pl.String if kinds is None else kinds.get(name, pl.String)
                for place, name in enumerate(names)
            },
            columns=None if kinds is None else [place for place, name in enumerate(names) if name in kinds],
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.height != n_rows or (kinds is None and _has_empty_rows(frame)):
        return None
    frame.columns = [name for name in names if kinds is None or name in kinds]
    return frame


def _end(data: bytes) -> int:
    """The byte after the last one that is no line end."""
    end = len(data)
    while end and data[end - 1] in b"\r\n":
        end -= 1
    return end


def _has_empty_rows(frame: pl.DataFrame) -> bool:
    """Whether all fields of a row are empty."""
    if not frame.to_series(0).has_nulls() and frame.to_series(0).str.len_bytes().min() != 0:
        return False
    return frame.select(pl.all_horizontal(pl.all().is_null() | (pl.all() == ""))).to_series().any()


def _count_quoted_rows(data: bytes, separator: bytes, width: int, start: int, end: int) -> int | None:
    """The number of rows, None if a quotation mark or line end is where RFC 4180 has none, or a line is blank.

    Goes over the text in pieces that begin and end outside of quotation, at line ends, and fit into the cache.
    """
    if data.find(b"\r", start) >= 0 and data.count(b"\r", end) != data.count(b"\r\n", end):
        return None
    blanks = [character for character in (b"\r", b" ", b"\t") if character != separator]
    characters = [b"\n", *(character for character in blanks if data.find(character, start) >= 0)]
    n_rows, n_separators, size = 1, 0, PIECE
    while start < end:
        cut = data.find(b"\n", min(start + size, end), end) + 1 or end
        counts = _count_in_piece(np.frombuffer(data, np.uint8)[start:cut], separator, characters)
        if counts == ODD and cut < end:  # a line end in quotation
            size *= 2
            continue
        if not isinstance(counts, tuple):
            return None
        n_rows, n_separators = n_rows + counts[0], n_separators + counts[1]
        start, size = cut, PIECE
    return n_rows if n_separators == n_rows * (width - 1) else None


def _count_in_piece(text: np.ndarray, separator: bytes, blank_lines: list[bytes]) -> tuple[int, int] | str | None:
    """Line ends and separators outside of quotation; ODD where a mark is left open, None where something is wrong.

    Marks open and close in turn. One opens after a separator, at the start of a line, or right after one that closed,
    which together are a mark in the field; one closes before a separator, a line end, or such a second one.

    Args:
      text: u8[N], which begins at the start of a record.
      separator: one byte.
      blank_lines: the bytes with which a blank line may begin.
    """
    marks = bitmap(text, b'"')
    if total(marks) % 2:
        return ODD
    quoted, feeds, separators = inside(marks), bitmap(text, b"\n"), bitmap(text, separator)
    opening, closing, bounds = marks & quoted, marks & ~quoted, feeds | separators
    starts, ends = after(bounds | closing), before(bounds | opening)
    starts[0] |= np.uint64(1)
    ends[-1] |= np.uint64(1 << ((len(text) - 1) % 64))
    if b"\r" in blank_lines:
        returns = bitmap(text, b"\r")
        ends |= before(returns)
        if (returns & ~quoted & ~before(feeds)).any():
            return None
    if (opening & ~starts).any() or (closing & ~ends).any():
        return None
    feeds &= ~quoted
    lines = after(feeds)
    lines[0] |= np.uint64(1)
    for character in blank_lines:
        for place in places(lines & (feeds if character == b"\n" else bitmap(text, character))).tolist():
            if _BLANK_LINE[separator == b"\t"].match(text[place:].tobytes()):
                return None
    return total(feeds), total(separators & ~quoted)


def _without_blank_lines(body: bytes, separator: bytes) -> bytes:
    """The text without lines of spaces and tabs."""
    blanks = b" " if separator == b"\t" else b" \t"
    beginnings = b"\n\r" + blanks  # what such a line begins with; a search for it is quicker than the pattern
    if not body.startswith(tuple(beginnings[i : i + 1] for i in range(len(beginnings)))) and not any(
        b"\n" + beginnings[i : i + 1] in body for i in range(len(beginnings))
    ):
        return body
    return re.sub(rb"(?m)^[" + blanks + rb"]*\r?(?:\n|\Z)", b"", body).rstrip(b"\r\n")
