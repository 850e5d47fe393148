"""Assigns roles (user, item, time, ...) to a table's columns, and converts them to a typed frame of events."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from jaxrec.data.readers import times, values
from jaxrec.data.readers.named_table import BadRows, NamedTable
from jaxrec.data.readers.reader import ReadOptions
from jaxrec.data.source_file import NoEvents, SourceFile
from jaxrec.text import listed, quoted
from jaxrec.types import DataError

# Names by which a column is recognised, best first; compared without case, underscores and blanks.
COLUMN_NAMES = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid"),
    "item": ("item", "itemid", "iid", "movieid", "parentasin", "asin", "artistid", "productid", "bookid"),
    "rating": ("rating", "overall", "stars", "score"),
    "time": ("time", "timestamp", "unixreviewtime"),
    "review": ("review", "reviewtext", "text"),
    "summary": ("summary", "reviewtitle"),
}
POSITIONS = "--data.columns user=1 item=2 rating=3 time=4"


def parse_columns(columns: tuple[str, ...]) -> dict[str, str]:
    """{"user": "customer"} from ("user=customer",).

    Raises:
      ValueError: a pair is not ROLE=COLUMN, or names a role that another one names.
    """
    roles: dict[str, str] = {}
    for pair in columns:
        role, mark, column = pair.partition("=")
        if not mark or role not in COLUMN_NAMES:
            raise ValueError(f"columns={quoted(pair)} is not ROLE=COLUMN with a role of {', '.join(COLUMN_NAMES)}")
        if role in roles:
            raise ValueError(f"columns={quoted(pair)} names the {role} again; give each role once")
        roles[role] = column
    return roles


def plain(name: str) -> str:
    """A column's name as it is compared: without case, underscores and blanks around it."""
    return name.strip().lower().replace("_", "")


def positions(given: Mapping[str, str]) -> dict[str, int] | None:
    """{role: position from 0} where columns are given as numbers from 1, which a file without a header has.

    Raises:
      ValueError: some are positions and others names, one is 0, or two are the same.
    """
    numbered = {role: column for role, column in given.items() if column.isascii() and column.isdigit()}
    if not numbered:
        return None
    if len(numbered) < len(given):
        raise ValueError(f"columns mixes positions and names; give all as positions, as in {POSITIONS}")
    places = {role: int(column) - 1 for role, column in numbered.items()}
    if min(places.values()) < 0 or len(set(places.values())) < len(places) or not {"user", "item"} <= set(places):
        raise ValueError(f"columns as positions count from 1, differ, and hold user and item, as in {POSITIONS}")
    return places


def assign_columns(source: SourceFile, names: list[str], given: Mapping[str, str], *, line: int = 1) -> dict[str, str]:
    """Which column plays which role: {"user": "reviewerID", ...}.

    Args:
      source: the file, for messages.
      names: of its columns.
      given: {role: column} as the user named them.
      line: of the names, for messages.

    Raises:
      DataError: no column is the user or the item, or a given one does not exist.
    """
    by_plain_name = {plain(name): name for name in reversed(names)}
    roles = {}
    for role, candidates in COLUMN_NAMES.items():
        if role in given:
            if given[role] not in names:
                source.fail(line, f"there is no column {quoted(given[role])}; the columns are {_all(names)}")
            roles[role] = given[role]
            continue
        matches = [by_plain_name[name] for name in candidates if name in by_plain_name]
        if matches:
            roles[role] = matches[0]
    for role in ("user", "item"):
        if role not in roles:
            advice = f"name it with --data.columns {role}=..."
            if not source.is_binary and not source.data.lstrip().startswith((b"{", b"[")):
                advice += f", or, if this line is an event and no header, give positions: {POSITIONS}"
            source.fail(line, f"no column is the {role}; the columns are {_all(names)}: {advice}")
    if "review" in roles and "summary" not in roles and "title" in by_plain_name:
        roles["summary"] = by_plain_name["title"]  # Amazon 2023; without a review, a title is the item's
    return roles


def _all(names: list[str]) -> str:
    """The names as they are where they are short and plain, else quoted and cut."""
    text = ", ".join(names)
    return text if text.isprintable() and len(text) <= 200 else listed(names)


def events_of(
    table: NamedTable,
    options: ReadOptions,
    *,
    roles: Mapping[str, str] | None = None,
    header_line: int | None = None,
) -> pl.DataFrame:
    """The columns that have a role, with the types that `Reader.read` specifies.

    Where the source skips bad rows, those in which a user, item, rating or time is missing or wrong are left out.

    Args:
      table: the file's columns.
      options: the user's.
      roles: {role: column}; None assigns them by the names of the columns.
      header_line: of the names, None where the file has no header.

    Raises:
      DataError: there is no event, or a user, item, rating or time is missing or of the wrong type; the message names
        the line.
    """
    if not table.frame.height:
        if header_line is None:
            raise NoEvents(f"{table.source.path}: the file holds no event")
        raise NoEvents(table.source.message(header_line, "the file holds a header and no event"))
    if roles is None:
        roles = assign_columns(table.source, table.frame.columns, options.columns, line=header_line or 1)
    notes = len(table.source.notes)
    while True:
        try:
            return converted(table, options, roles, header_line)
        except BadRows as bad:
            del table.source.notes[notes:]
            table = table.without(bad)
            if not table.frame.height:
                raise DataError(f"{table.source.path}: no row can be read; the last: {bad.problem(0)}") from bad


def converted(
    table: NamedTable, options: ReadOptions, roles: Mapping[str, str], header_line: int | None
) -> pl.DataFrame:
    """`events_of` in one go: raises `BadRows` where the source skips bad rows and there are some."""
    series = []
    for role in (role for role in COLUMN_NAMES if role in roles):
        cells = table.frame[roles[role]]
        if role == "rating":
            cells = values.numbers(table, role, cells)
        elif role == "time":
            cells = times.milliseconds(table, cells, options.time_unit)
        elif role in ("user", "item"):
            cells = values.names(table, role, cells)
        else:
            cells = values.texts(table, role, cells)
        series.append(cells.alias(role))
    frame = pl.DataFrame(series)
    if header_line is not None:
        _refuse_header_again(table, frame, roles, options)
    return frame


def _refuse_header_again(
    table: NamedTable, frame: pl.DataFrame, roles: Mapping[str, str], options: ReadOptions
) -> None:
    """Two mistakes about headers: one in the middle, where files were put together, and an event taken for one."""
    is_header = {role: frame[role] == roles[role].strip() for role in ("user", "item")}
    table.refuse(is_header["user"] & is_header["item"], lambda row: "the header is repeated here")
    for role, same in is_header.items():
        if role in options.columns and plain(roles[role]) not in COLUMN_NAMES[role] and same.any():
            table.fail(
                int(same.arg_max() or 0),
                f"the {role} is {quoted(roles[role])}, which also names the column: if the file has no header, give"
                f" positions, as in {POSITIONS}",
            )
