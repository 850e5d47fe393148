"""Tables whose columns have names (CSV, TSV, JSON lines, Parquet) as columns of strings that remember their lines."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Callable, Iterator
from typing import NoReturn

import polars as pl

from jaxrec.data.source_file import SourceFile


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of a file and the way back from a row to its line.

    Attributes:
      source: the file.
      frame: the columns, strings (Parquet: of any type), null where a field is empty.
      line_of: the line of a row, both counted as people do: rows from 0, lines from 1.
    """

    source: SourceFile
    frame: pl.DataFrame
    line_of: Callable[[int], int]

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raise a ValueError that names the line of a row."""
        self.source.fail(self.line_of(row), problem)


def delimited(source: SourceFile, separator: str, *, quoted: bool, names: list[str] | None = None) -> Table:
    """A text table.

    Args:
      source: the file.
      separator: one character or more; none of them quoted where it is more.
      quoted: whether "..." may hold separators and line ends.
      names: the columns, where the file has no line that says them.

    Raises:
      ValueError: a column's name stands twice, or a line has more or fewer fields than there are columns.
    """
    data = source.data
    if len(separator) > 1:  # polars and csv know single ones only
        data, separator = data.replace(separator.encode(), b"\t"), "\t"
    records = _Records(source, data, separator, quoted)
    has_header = names is None
    if names is None:
        names = header(source, separator, quoted)
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
    return Table(source, frame.filter(~blank), lambda row: records.line(row + has_header))


def header(source: SourceFile, separator: str, quoted: bool) -> list[str]:
    """The names that a table's first line gives its columns, without RecBole's types ("user_id:token").

    Raises:
      ValueError: a name stands twice.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    fields = next(csv.reader([source.first_line()], delimiter=separator, quoting=quoting))
    names = [field.strip().rpartition(":")[0] or field.strip() for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        source.fail(1, f"the header names {', '.join(map(repr, twice))} more than once")
    return names


def json_lines(source: SourceFile, wanted: Callable[[list[str]], list[str]]) -> Table:
    """A JSON object a line; scalars as strings.

    Args:
      source: the file.
      wanted: given the keys of the first object, those to read.

    Raises:
      ValueError: a line is not a JSON object.
    """
    try:
        first = json.loads(source.first_line())
    except ValueError as error:
        source.fail(1, f"not a JSON object ({error}); old Amazon files hold Python literals: take the 5-core ones")
    columns = wanted(list(first))
    try:
        frame = pl.read_ndjson(source.data, schema={name: pl.String for name in columns})
    except pl.exceptions.PolarsError as error:
        _fail_at_bad_json(source)
        raise ValueError(f"{source.path}: not JSON lines that can be read: {error}") from error
    if frame.height != sum(1 for line in source.data.split(b"\n") if line.strip()):
        _fail_at_bad_json(source)
    return Table(source, frame, lambda row: [number for number, _ in source.lines()][row])


def parquet(source: SourceFile) -> Table:
    """A Parquet file; its "lines" are its rows, counted from 1."""
    try:
        frame = pl.read_parquet(io.BytesIO(source.data))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{source.path}: a damaged Parquet file: {error}") from error
    return Table(source, frame, lambda row: row + 1)


@dataclasses.dataclass(frozen=True)
class _Records:
    """The slow walk over a text table that finds lines for messages; polars does the reading."""

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
                self.source.fail(start, f"{len(fields)} fields where {width} are wanted")
            if not any(fields):
                self.source.fail(start, "every field is empty")


def _fail_at_bad_json(source: SourceFile) -> None:
    for number, line in source.lines():
        try:
            good = isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            source.fail(number, "not a JSON object")
