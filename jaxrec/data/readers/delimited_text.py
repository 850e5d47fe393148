"""Text tables: a strict parser of fields, quotation marks and line ends, and polars where it must agree with it.

Lines end at a line feed or at a carriage return and a line feed, nowhere else. Quotation follows RFC 4180: a field is
quoted as a whole or not at all, and a quotation mark in it is doubled.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator

import polars as pl

from jaxrec.data.readers.delimited_fast import read_fast
from jaxrec.data.readers.dialect import BLANKS, Dialect
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.source_file import BadLine, SourceFile


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
    frame, lines = read_fast(source, dialect, names, start), []
    if frame is None:
        frame = read_strictly(source, dialect, names, start, lines)

    def line_of(row: int) -> int:
        return lines[row] if lines else next(itertools.islice(records(source, dialect), row + n_headers, None)).line

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


def read_strictly(
    source: SourceFile, dialect: Dialect, names: list[str], start: int, lines: list[int] | None = None
) -> pl.DataFrame:
    """The columns by the strict parser, from a byte on; raises what `read_delimited` does.

    Args:
      source: the file, whose bad records are left out if it says so.
      dialect: how it is written.
      names: of the columns.
      start: byte at which the first row begins.
      lines: gets the line of each row.
    """
    rows = []
    for record in records(source, dialect):
        if record.end <= start:
            continue
        if len(record.fields) != len(names):
            source.refuse(record.line, f"{len(record.fields)} fields where {len(names)} are expected")
        elif not any(record.fields):
            source.refuse(record.line, "every field is empty")
        else:
            rows.append(record.fields)
            if lines is not None:
                lines.append(record.line)
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def records(source: SourceFile, dialect: Dialect) -> Iterator[Record]:
    """The records of a file in turn; blank lines are left out, as are comments before the first record.

    Raises:
      DataError: a quotation mark or a carriage return is out of place; names the line. Where the source says that bad
        rows are skipped, such a line is, and the next one begins a record.
    """
    data, line, position = source.data, 1, 0
    is_first = True
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        body = data[position:end]
        if is_first and dialect.has_comments and body.startswith(b"#"):
            line, position = line + 1, end + 1
            continue
        record, next_line = None, line + 1
        try:
            if dialect.is_quoted and b'"' in body:
                record, next_line = _quoted_record(source, dialect.separator.encode(), line, position)
            else:
                body = body.removesuffix(b"\r") if end < len(data) else body
                if b"\r" in body:
                    _refuse_return(source, line)
                if not _is_blank(body, dialect):
                    record = Record(line, _fields(source, dialect, line, body), position, end + 1)
        except BadLine as bad:
            if not source.skips_bad_rows:
                raise
            source.refuse(line, bad.problem)
        if record is not None:
            is_first = False
            yield record
        line, position = next_line, end + 1 if record is None else record.end


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
