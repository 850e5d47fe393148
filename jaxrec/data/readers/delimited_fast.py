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
    if data[end:] in (b"\n", b"\r\n") and b'"' not in data[:start]:
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

    Marks open and close in turn. One opens after a separator, at the start of a line, or right after one that closed,
    which together are a mark in the field; one closes before a separator, a line end, or such a second one.
    """
    text = np.frombuffer(data, np.uint8)[start:end]
    marks, line_feeds, separators = (bitmap(text, character) for character in (b'"', b"\n", separator))
    if total(marks) % 2:
        return None
    quoted = inside(marks)
    opening, closing = marks & quoted, marks & ~quoted
    starts, ends = line_feeds | separators | closing, line_feeds | separators | opening
    first, last = np.uint64(1), np.uint64(1 << ((len(text) - 1) % 64))
    starts, ends = after(starts), before(ends)
    starts[0] |= first
    ends[-1] |= last
    unquoted_feeds = line_feeds & ~quoted
    if data.find(b"\r", start) >= 0:
        if data.count(b"\r", end) != data.count(b"\r\n", end):
            return None
        returns = bitmap(text, b"\r")
        ends |= before(returns)
        if (returns & ~quoted & ~before(line_feeds)).any():
            return None
    if (opening & ~starts).any() or (closing & ~ends).any():
        return None
    if _may_have_blank_lines(text, unquoted_feeds, data, separator, start):
        return None
    n_rows = total(unquoted_feeds) + 1
    return n_rows if total(separators & ~quoted) == n_rows * (width - 1) else None


def _may_have_blank_lines(text: np.ndarray, line_feeds: np.ndarray, data: bytes, separator: bytes, start: int) -> bool:
    """Whether one of the line feeds is followed by a line of spaces and tabs, or the text begins with one."""
    blanks = b" " if separator == b"\t" else b" \t"
    starts = after(line_feeds)
    starts[0] |= np.uint64(1)
    ends = [b"\n"] + [character for character in (b"\r", b" ", b"\t") if character in blanks + b"\r"]
    ends = [character for character in ends if data.find(character, start) >= 0]
    blank = re.compile(rb"[" + blanks + rb"]*\r?(?:\n|\Z)")
    candidates = places(starts & bitmap(text, *ends)) if ends else []
    body = text.tobytes() if len(candidates) else b""
    return any(blank.match(body, place) for place in candidates)


def _without_blank_lines(body: bytes, separator: bytes) -> bytes:
    """The text without lines of spaces and tabs."""
    blanks = b" " if separator == b"\t" else b" \t"
    beginnings = b"\n\r" + blanks  # what such a line begins with; a search for it is quicker than the pattern
    if not body.startswith(tuple(beginnings[i : i + 1] for i in range(len(beginnings)))) and not any(
        b"\n" + beginnings[i : i + 1] in body for i in range(len(beginnings))
    ):
        return body
    return re.sub(rb"(?m)^[" + blanks + rb"]*\r?(?:\n|\Z)", b"", body).rstrip(b"\r\n")
