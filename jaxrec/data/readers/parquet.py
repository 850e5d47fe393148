"""Parquet files with named columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from jaxrec.data.readers.columns import assign_columns, events_of
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.readers.values import WANTED, are_plain
from jaxrec.data.source_file import SourceFile
from jaxrec.text import quoted
from jaxrec.types import DataError

FOOTER_LIMIT = 256 << 20
"""Bytes of one text, and of entries of one list, in the footer; a damaged length would ask for any amount."""
MOST_ROWS = 1 << 31
"""Rows of one file, as a few damaged bytes can announce any number."""
DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, IndexError, KeyError)


def read_parquet(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Events of a Parquet file; only columns that have a role are read, and errors name rows, counted from 1.

    Raises:
      DataError: the file is damaged, or has no column of users or items, or a column is of a type that can't be used.
    """
    roles: dict[str, str] = {}

    def choose(schema: pa.Schema) -> Mapping[str, str]:
        roles.update(assign_columns(source, schema.names, options.columns))
        for role, column in roles.items():
            _check_type(source, role, column, schema.field(column).type)
        return roles

    table = read_columns(source, choose)
    return events_of(table, options, roles=roles)


def read_columns(source: SourceFile, choose: Callable[[pa.Schema], Mapping[str, str]]) -> NamedTable:
    """Some columns of a Parquet file.

    Args:
      source: the file.
      choose: {role: column} of those to read.
    Raises:
      DataError: the file is damaged, two columns have one name, or `choose` raises one.
    """
    try:
        file = _open(source)
        schema, n_rows = file.schema_arrow, file.metadata.num_rows
        names = schema.names
        if not 0 <= n_rows <= MOST_ROWS:
            raise ValueError(f"{n_rows:,} rows are announced")
    except DAMAGE as error:
        raise _damaged(source, error) from error
    if len(set(names)) < len(names):
        raise DataError(f"{source.path}: two columns have one name; the columns are {', '.join(map(quoted, names))}")
    roles = choose(schema)
    try:
        columns = [_column(source, role, column, n_rows) for role, column in roles.items()]
    except (*DAMAGE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _damaged(source, error) from error
    frame = pl.DataFrame({column: series for column, (series, _) in zip(roles.values(), columns)})
    plain = frozenset(column for column, (_, is_plain) in zip(roles.values(), columns) if is_plain)
    return NamedTable(source, frame, lambda row: row + 1, plain)


def _check_type(source: SourceFile, role: str, column: str, kind: pa.DataType) -> None:
    """Raises a DataError for a type that no role has; those that only some have are left to `events_of`."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    usable = (
        pa.types.is_integer(inner)
        or pa.types.is_floating(inner)
        or pa.types.is_string(inner)
        or pa.types.is_large_string(inner)
        or pa.types.is_string_view(inner)
        or pa.types.is_decimal(inner)
        or pa.types.is_timestamp(inner)
        or pa.types.is_date(inner)
        or pa.types.is_boolean(inner)
        or pa.types.is_null(inner)
    )
    if not usable:
        table = NamedTable(source, pl.DataFrame(), lambda row: row + 1)
        table.refuse_column(column, role, quoted(kind), WANTED[role])


def _open(source: SourceFile, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.BufferReader(source.data),
        thrift_string_size_limit=FOOTER_LIMIT,
        thrift_container_size_limit=FOOTER_LIMIT,
        page_checksum_verification=True,
        pre_buffer=False,
        read_dictionary=list(dictionaries),
    )


def _column(source: SourceFile, role: str, name: str, n_rows: int) -> tuple[pl.Series, bool]:
    """A column, and whether its texts are known to be plain names."""
    dictionaries = [name] if role in ("user", "item") else []  # few names in a row group, each looked at once
    # Arrow's own threads go on after an error, and abort the process where it ends before them.
    table = _open(source, dictionaries).read(columns=[name], use_threads=False)
    if table.num_rows != n_rows or table.column_names != [name]:
        raise ValueError(f"{table.num_rows:,} rows of {name} where {n_rows:,} are announced")
    column = table.column(0)
    column.validate(full=True)
    kind = column.type.value_type if dictionaries and pa.types.is_dictionary(column.type) else column.type
    if not column.num_chunks or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _polars(column), False
    if not pa.types.is_dictionary(column.type):
        return _polars(column), role in ("user", "item") and all(map(are_plain, column.chunks))
    texts = [pl.Series(chunk.dictionary) for chunk in column.chunks]
    rows = [part.gather(pl.Series(chunk.indices)) for part, chunk in zip(texts, column.chunks)]
    return pl.concat(rows, rechunk=False), all(are_plain(chunk.dictionary) for chunk in column.chunks)


def _polars(column: pa.ChunkedArray) -> pl.Series:
    """The column as polars has it; dictionaries are written out, as polars takes those of strings alone."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal256(column.type):
        column = column.cast(pa.decimal128(38, column.type.scale))
    series = pl.from_arrow(column)
    assert isinstance(series, pl.Series)
    return series


def _damaged(source: SourceFile, error: BaseException) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{source.path}: a damaged Parquet file ({quoted(reason, 120)}); write or fetch it again")


READER = Reader("a Parquet file with named columns", read_parquet, magic=b"PAR1")
