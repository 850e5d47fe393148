"""Text tables: commas, semicolons or tabs under a header, and RecBole's atomic files under a typed header."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator

import polars as pl

from jaxrec.data.readers.columns import events_of
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.reader import Reader
from jaxrec.data.source_file import SourceFile


def read_delimited(source: SourceFile, separator: str, *, quoted: bool, names: list[str] | None = None) -> NamedTable:
    """A text table.

    Args:
      source: the file.
      separator: one character, or several if `quoted` is False.
      quoted: whether "..." may hold separators and line ends.
      names: of the columns, where the file has no header; None reads the header.

    Raises:
      ValueError: a column name is repeated, or a line has more or fewer fields than there are columns.
    """
    data = source.data
    if len(separator) > 1:  # polars and csv take a single character only
        data, separator = data.replace(separator.encode(), b"\t"), "\t"
    records = _Records(source, data, separator, quoted)
    has_header = names is None
    if names is None:
        names = header_names(source, separator, quoted)
    try:
        frame = pl.read_csv(
            data,
            separator=separator,
            quote_char='"' if quoted else None,
            has_header=has_header,
            new_columns=names,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        records.fail_at_first_bad(len(names))
        raise ValueError(f"{source.path}: not a table that can be read: {error}") from error
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()  # polars makes such rows from blank lines
    if blank.any() or frame.width != len(names) or frame.to_series(-1).has_nulls():  # and nulls from short lines
        records.fail_at_first_bad(len(names))
    return NamedTable(source, frame.filter(~blank), lambda row: records.line(row + has_header))


def header_names(source: SourceFile, separator: str, quoted: bool) -> list[str]:
    """Column names from a table's first line, without RecBole's types ("user_id:token").

    Raises:
      ValueError: a name is repeated.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    fields = next(csv.reader([source.first_line()], delimiter=separator, quoting=quoting))
    names = [field.strip().rpartition(":")[0] or field.strip() for field in fields]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        source.fail(1, f"the header names {', '.join(map(repr, repeated))} more than once")
    return names


@dataclasses.dataclass(frozen=True)
class _Records:
    """A slow pass over a text table that finds line numbers for error messages; polars does the reading."""

    source: SourceFile
    data: bytes
    separator: str
    quoted: bool

    def _walk(self) -> Iterator[tuple[int, list[str] | None]]:
        """The line at which a record starts and its fields, None where it can't be read; blank lines are left out."""
        text = io.StringIO(self.data.decode("utf-8"), newline="")
        quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        reader = csv.reader(text, delimiter=self.separator, quoting=quoting, strict=True)
        start = 1
        try:
            for fields in reader:
                if fields:
                    yield start, fields
                start = reader.line_num + 1
        except csv.Error:
            yield start, None

    def line(self, record: int) -> int:
        return next(itertools.islice(self._walk(), record, None))[0]

    def fail_at_first_bad(self, width: int) -> None:
        for start, fields in self._walk():
            if fields is None:
                self.source.fail(start, "a quotation mark is out of place or never closed")
            if len(fields) != width:
                self.source.fail(start, f"{len(fields)} fields where {width} are expected")
            if not any(fields):
                self.source.fail(start, "every field is empty")


def guess_separator(line: str) -> str:
    """The separator of a header line: the most frequent of tab, comma and semicolon."""
    return max("\t,;", key=line.count)


def read_csv(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Events of a table under a header."""
    separator = guess_separator(source.first_line())
    return events_of(read_delimited(source, separator, quoted=separator != "\t"), columns)


def read_recbole(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Events of RecBole's atomic .inter file."""
    return events_of(read_delimited(source, "\t", quoted=False), columns)


def has_typed_header(source: SourceFile) -> bool:
    """Whether the first line is a header of RecBole's, "user_id:token"."""
    return re.match(r"[^\t]*:(token|token_seq|float|float_seq)(\t|$)", source.first_line()) is not None


CSV = Reader(
    "a table with commas, semicolons or tabs under a header (MovieLens ratings.csv, Amazon 2023, any)",
    read_csv,
    recognises=lambda source: any(mark in source.first_line() for mark in ",;\t"),
)
RECBOLE = Reader(
    "atomic .inter: a tab-separated table under a typed header, user_id:token ...",
    read_recbole,
    recognises=has_typed_header,
)
