"""Assigns roles (user, item, time, ...) to a table's columns, and converts them to a typed frame of events."""

from __future__ import annotations

import numpy as np
import polars as pl

from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.source_file import SourceFile

# Names by which a column is recognised, best first; compared without case and underscores.
COLUMN_NAMES = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid"),
    "item": ("item", "itemid", "iid", "movieid", "parentasin", "asin", "artistid", "productid", "bookid"),
    "rating": ("rating", "overall", "stars", "score"),
    "time": ("time", "timestamp", "unixreviewtime"),
    "review": ("review", "reviewtext", "text"),
    "summary": ("summary", "reviewtitle"),
}


def parse_columns(columns: tuple[str, ...]) -> dict[str, str]:
    """{"user": "customer"} from ("user=customer",).

    Raises:
      ValueError: a pair is not ROLE=COLUMN.
    """
    roles = {}
    for pair in columns:
        role, mark, column = pair.partition("=")
        if not mark or role not in COLUMN_NAMES:
            raise ValueError(f"columns={pair!r} is not ROLE=COLUMN with a role of {', '.join(COLUMN_NAMES)}")
        roles[role] = column
    return roles


def assign_columns(source: SourceFile, names: list[str], given: dict[str, str]) -> dict[str, str]:
    """Which column plays which role: {"user": "reviewerID", ...}.

    Args:
      source: the file, for messages.
      names: of its columns.
      given: {role: column} as the user named them.

    Raises:
      ValueError: no column is the user or the item, or a given one does not exist.
    """
    by_plain_name = {name.lower().replace("_", ""): name for name in reversed(names)}
    roles = {}
    for role, candidates in COLUMN_NAMES.items():
        if role in given:
            if given[role] not in names:
                source.fail(1, f"there is no column {given[role]!r}; the columns are {', '.join(names)}")
            roles[role] = given[role]
            continue
        matches = [by_plain_name[name] for name in candidates if name in by_plain_name]
        if matches:
            roles[role] = matches[0]
    for role in ("user", "item"):
        if role not in roles:
            source.fail(
                1,
                f"no column is the {role}; the columns are {', '.join(names)}: name it with --data.columns {role}=...",
            )
    if "review" in roles and "summary" not in roles and "title" in by_plain_name:
        roles["summary"] = by_plain_name["title"]  # Amazon 2023; without a review, a title is the item's
    return roles


def events_of(table: NamedTable, given: dict[str, str]) -> pl.DataFrame:
    """The columns that have a role, with the types that `Reader.read` specifies.

    Args:
      table: the file's columns.
      given: {role: column} as the user named them.

    Raises:
      ValueError: there is no event, or a user, item, rating or time is missing or of the wrong type; the message names
        the line.
    """
    if not table.frame.height:
        table.source.fail(1, "the file holds a header and no event")
    roles = assign_columns(table.source, table.frame.columns, given)
    for role in ("user", "item", "rating", "time"):
        if role in roles:
            empty = table.frame[roles[role]].is_null()
            if empty.any():
                table.fail(int(empty.arg_max() or 0), f"the {role} is missing (column {roles[role]!r})")
    series = []
    for role, column in roles.items():
        values = table.frame[column]
        if role == "rating":
            values = _numbers(table, role, values)
        elif role == "time":
            values = _milliseconds(table, values)
        elif role in ("user", "item"):
            values = values.cast(pl.String)
        else:
            values = values.cast(pl.String).fill_null("")
        series.append(values.alias(role))
    frame = pl.DataFrame(series)
    repeated = (frame["user"] == roles["user"]) & (frame["item"] == roles["item"])
    if repeated.any():
        table.fail(int(repeated.arg_max() or 0), "the header is repeated here")
    return frame


def _numbers(table: NamedTable, role: str, values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64, strict=False)
    invalid = ~numbers.is_finite().fill_null(False)
    if invalid.any():
        row = int(invalid.arg_max() or 0)
        table.fail(row, f"the {role} {str(values[row])!r} is not a number")
    return numbers


def _milliseconds(table: NamedTable, values: pl.Series) -> pl.Series:
    """Times as i64 milliseconds. Numbers are seconds, milli-, micro- or nanoseconds since 1970, by their size:
    a median of 1e11 is 1973 in milliseconds and the year 5138 in seconds, and so on up.
    """
    if values.dtype.is_temporal():
        return values.cast(pl.Datetime("ms")).dt.epoch("ms")
    numbers = _numbers(table, "time", values).to_numpy()
    median = np.median(np.abs(numbers))
    scale = 1000.0
    for limit in (1e11, 1e14, 1e17):
        if median >= limit:
            scale /= 1000.0
    return pl.Series(np.rint(numbers * scale).astype(np.int64))
