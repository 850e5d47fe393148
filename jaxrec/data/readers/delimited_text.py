"""Text tables: a strict parser of fields, quotation marks and line ends, and polars where it must agree with it.

Lines end at a line feed or at a carriage return and a line feed, nowhere else. Quotation follows RFC 4180: a field is
quoted as a whole or not at all, and a quotation mark in it is doubled.
"""

from __future__ import annotations

import codecs
import dataclasses
import itertools
import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.source_file import SourceFile

BLANKS = " "
"""The separator that stands for any run of spaces and tabs."""
_STAND_INS = "\x1f\x1e\x1d\x1c\x02"


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How lines are cut into fields.

    Attributes:
      separator: one character, several, or BLANKS.
      is_quoted: whether "..." may hold separators and line ends; only of a separator of one character.
      has_comments: whether lines before the first record that begin with # are passed over.
    """

    separator: str
    is_quoted: bool = False
    has_comments: bool = False


@dataclasses.dataclass(frozen=True)
class Record:
    """Fields of one record, the line and the byte at which it starts, and the byte after its line end."""

    line: int
    fields: list[str]
    start: int
    end: int


def read_delimited(source: SourceFile, dialect: Dialect, names: list[str] | None = None) -> NamedTable:
    """A text table.

    Args:
      source: the file.
      dialect: how it is written.
      names: of the columns, where the file has no header; None takes the first record's fields.

    Raises:
      DataError: a column name is repeated, a line has more or fewer fields than there are columns, or a quotation mark
        or carriage return is out of place.
    """
    first = next(records(source, dialect), None)
    if first is None:
        source.fail(1, "the file holds no table")
    n_headers = int(names is None)
    names, start = (header_names(source, first), first.end) if names is None else (names, first.start)
    frame = read_fast(source, dialect, names, start)
    if frame is None:
        frame = read_strictly(source, dialect, names, start)

    def line_of(row: int) -> int:
        return next(itertools.islice(records(source, dialect), row + n_headers, None)).line

    return NamedTable(source, frame, line_of)


def header_names(source: SourceFile, header: Record) -> list[str]:
    """Column names from a table's first record, without RecBole's types ("user_id:token").

    Raises:
      DataError: a name is repeated.
    """
    names = [re.sub(r":(token|float)(_seq)?$", "", field.strip()) for field in header.fields]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        source.fail(header.line, f"the header names {', '.join(map(repr, repeated))} more than once")
    return names


def read_strictly(source: SourceFile, dialect: Dialect, names: list[str], start: int) -> pl.DataFrame:
    """The columns by the strict parser, from a byte on; raises what `read_delimited` does."""
    rows = []
    for record in records(source, dialect):
        if record.end <= start:
            continue
        if len(record.fields) != len(names):
            source.fail(record.line, f"{len(record.fields)} fields where {len(names)} are expected")
        if not any(record.fields):
            source.fail(record.line, "every field is empty")
        rows.append(record.fields)
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def records(source: SourceFile, dialect: Dialect) -> Iterator[Record]:
    """The records of a file in turn; blank lines are left out, as are comments before the first record.

    Raises:
      DataError: a quotation mark or a carriage return is out of place; names the line.
    """
    data, line, position = source.data, 1, 0
    is_first = True
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        start, body = position, data[position:end]
        if is_first and dialect.has_comments and body.startswith(b"#"):
            line, position = line + 1, end + 1
            continue
        if dialect.is_quoted and b'"' in body:
            record, next_line = _quoted_record(source, dialect.separator.encode(), line, position)
            yield record
            line, position = next_line, record.end
        else:
            if end < len(data):
                body = body.removesuffix(b"\r")
            if b"\r" in body:
                _refuse_return(source, line)
            position = end + 1
            if not _is_blank(body, dialect):
                is_first = False
                yield Record(line, _fields(source, dialect, line, body), start, position)
            line += 1
            continue
        is_first = False


def _is_blank(body: bytes, dialect: Dialect) -> bool:
    return not body.strip(b" \t") and (dialect.separator == BLANKS or dialect.separator.encode() not in body)


def _fields(source: SourceFile, dialect: Dialect, line: int, body: bytes) -> list[str]:
    text = body.decode("utf-8")
    if dialect.separator == BLANKS:
        return re.split("[ \t]+", text.strip(" \t"))
    if len(dialect.separator) > 1 and dialect.separator + dialect.separator[-1] in text:
        source.fail(line, f"more of {dialect.separator[-1]!r} than the separator {dialect.separator!r} has")
    return text.split(dialect.separator)


def _quoted_record(source: SourceFile, separator: bytes, line: int, position: int) -> tuple[Record, int]:
    """A record that holds a quotation mark, and the line after it."""
    data, fields, first_line, record_start = source.data, [], line, position
    plain = re.compile(b'[^"\r\n' + re.escape(separator) + b"]*")
    while True:
        if is_quoted := data.startswith(b'"', position):
            start = position + 1
            close = data.find(b'"', start)
            while close >= 0 and data.startswith(b'"', close + 1):
                close = data.find(b'"', close + 2)
            if close < 0:
                source.fail(line, "a quotation mark is never closed")
            text = data[start:close].replace(b'""', b'"')
            line += data.count(b"\n", start, close)
            position = close + 1
        else:
            match = plain.match(data, position)
            assert match is not None
            text, position = match.group(), match.end()
        fields.append(text.decode("utf-8"))
        if data.startswith(separator, position):
            position += 1
            continue
        for line_end in (b"\n", b"\r\n"):
            if data.startswith(line_end, position):
                return Record(first_line, fields, record_start, position + len(line_end)), line + 1
        if position == len(data):
            return Record(first_line, fields, record_start, position), line + 1
        if data.startswith(b"\r", position):
            _refuse_return(source, line)
        if is_quoted:
            source.fail(line, "text after a closing quotation mark; a mark inside a quoted field is written twice")
        source.fail(line, "a quotation mark inside a field; quote the whole field and write the mark twice")


def _refuse_return(source: SourceFile, line: int) -> None:
    source.fail(
        line,
        "a carriage return without a line feed after it; end lines with \\n or \\r\\n: tr '\\r' '\\n' < OLD > NEW"
        " does it for files of old Macs",
    )


def read_fast(source: SourceFile, dialect: Dialect, names: list[str], start: int) -> pl.DataFrame | None:
    """What `read_strictly` returns, by polars, with null for ""; None where the two might differ.

    Before polars reads, every quotation mark and carriage return is known to be where RFC 4180 wants it and blank
    lines are gone; afterwards the numbers of rows and of separators are those of the bytes.
    """
    separator, body = dialect.separator.encode(), source.data[start:] if start else source.data
    if dialect.separator == BLANKS or body.startswith(codecs.BOM_UTF8):  # polars would take the mark away
        return None
    if len(separator) > 1:
        stand_in = next((mark.encode() for mark in _STAND_INS if mark.encode() not in body), None)
        if stand_in is None or separator + separator[-1:] in body:
            return None
        separator, body = stand_in, body.replace(separator, stand_in)
    marks = _marks(body, separator) if dialect.is_quoted and b'"' in body else None
    if marks is None and dialect.is_quoted and b'"' in body:
        return None
    if b"\r" in body and not _returns_end_lines(body, marks):
        return None
    body, width = body.rstrip(b"\r\n"), len(names)
    if marks is None:
        if body.count(separator) != (body.count(b"\n") + 1) * (width - 1):  # a blank line has no separator
            body = _without_blank_lines(body, separator)
        n_rows = body.count(b"\n") + 1
        if body.count(separator) != n_rows * (width - 1):
            return None
    else:
        array = np.frombuffer(body, np.uint8)
        line_feeds = _unquoted(array, b"\n", marks)
        if _may_have_blank_lines(array, line_feeds, body, separator):
            return None
        n_rows = len(line_feeds) + 1
        if len(_unquoted(array, separator, marks)) != n_rows * (width - 1):
            return None
    if not body:
        return None
    try:
        frame = pl.read_csv(
            body + b"\n",  # polars passes over a separator too much where it ends the text
            separator=separator.decode(),
            quote_char=None if marks is None else '"',
            has_header=False,
            schema={str(column): pl.String for column in range(len(names))},
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.height != n_rows or _has_empty_rows(frame):
        return None
    frame.columns = names
    return frame


def _has_empty_rows(frame: pl.DataFrame) -> bool:
    """Whether all fields of a row are empty."""
    if not frame.to_series(0).has_nulls() and frame.to_series(0).str.len_bytes().min() != 0:
        return False
    return frame.select(pl.all_horizontal(pl.all().is_null() | (pl.all() == ""))).to_series().any()


def _marks(body: bytes, separator: bytes) -> np.ndarray | None:
    """Places of the quotation marks, None if one is where RFC 4180 has none.

    Marks open and close in turn. One opens after a separator, at the start of a line, or right after one that closed,
    which together are a mark in the field; one closes before a separator, a line end, or such a second one.
    """
    array = np.frombuffer(body, np.uint8)
    places = np.flatnonzero(array == ord('"'))
    if len(places) % 2:
        return None
    opening, closing = places[::2], places[1::2]
    before = np.where(opening > 0, array[opening - 1], ord("\n"))
    after = np.where(closing + 1 < len(array), array[np.minimum(closing + 1, len(array) - 1)], ord("\n"))
    opens = (before == ord(separator)) | (before == ord("\n"))
    opens[1:] |= opening[1:] == closing[:-1] + 1
    closes = (after == ord(separator)) | (after == ord("\n")) | (after == ord("\r"))
    closes[:-1] |= closing[:-1] + 1 == opening[1:]
    return places if opens.all() and closes.all() else None


def _returns_end_lines(body: bytes, marks: np.ndarray | None) -> bool:
    """Whether every carriage return outside quotation is followed by a line feed."""
    if marks is None:
        return body.count(b"\r") == body.count(b"\r\n")
    array = np.frombuffer(body, np.uint8)
    returns = _unquoted(array, b"\r", marks)
    return not len(returns) or (returns[-1] + 1 < len(array) and bool((array[returns + 1] == ord("\n")).all()))


def _without_blank_lines(body: bytes, separator: bytes) -> bytes:
    """The text without lines of spaces and tabs."""
    blanks = b" " if separator == b"\t" else b" \t"
    after = b"\n\r" + blanks  # what such a line begins with; a search for it is quicker than the pattern
    if not body.startswith(tuple(after[i : i + 1] for i in range(len(after)))) and not any(
        b"\n" + after[i : i + 1] in body for i in range(len(after))
    ):
        return body
    return re.sub(rb"(?m)^[" + blanks + rb"]*\r?(?:\n|\Z)", b"", body).rstrip(b"\r\n")


def _may_have_blank_lines(array: np.ndarray, line_feeds: np.ndarray, body: bytes, separator: bytes) -> bool:
    """Whether one of the line feeds is followed by a line of spaces and tabs, or the text begins with one."""
    blanks = b" " if separator == b"\t" else b" \t"
    starts = np.append(0, line_feeds + 1)
    starts = starts[np.isin(array[np.minimum(starts, len(array) - 1)], list(b"\n\r" + blanks))]
    blank = re.compile(rb"[" + blanks + rb"]*\r?(?:\n|\Z)")
    return any(blank.match(body, start) for start in starts.tolist())


def _unquoted(array: np.ndarray, character: bytes, marks: np.ndarray) -> np.ndarray:
    """Where a character stands outside quotation."""
    places = np.flatnonzero(array == ord(character))
    return places[np.searchsorted(marks, places) % 2 == 0]
