"""Events from the public formats, one frame for all: user, item and, where the file has them, the other columns.

user and item are strings as they stood; rating f64; time i64 in milliseconds since 1970; review and summary strings.
A frame without `time` stands in the file's own order, oldest first.
"""

from __future__ import annotations

import pathlib
import re

import numpy as np
import polars as pl

from jaxrec.data import tables
from jaxrec.data.source_file import SourceFile, open_source
from jaxrec.data.tables import Table

FORMATS = {
    "sequence": "a line a user: NAME ITEM ITEM ..., oldest first",
    "movielens-100k": "u.data: user, item, rating, time parted by tabs",
    "movielens-dat": "ratings.dat: user::item::rating::time",
    "recbole": "atomic .inter: a tab-separated table under a typed header, user_id:token ...",
    "json": "a JSON object a line, Amazon reviews of 2014, 2018 and 2023 or any with named columns",
    "csv": "a table with commas, semicolons or tabs under a header (MovieLens ratings.csv, Amazon 2023, any)",
    "parquet": "a Parquet file with named columns",
}
# What columns are called, best first; compared without case and underscores.
NAMES = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid"),
    "item": ("item", "itemid", "iid", "movieid", "parentasin", "asin", "artistid", "productid", "bookid"),
    "rating": ("rating", "overall", "stars", "score"),
    "time": ("time", "timestamp", "unixreviewtime"),
    "review": ("review", "reviewtext", "text"),
    "summary": ("summary", "reviewtitle"),
}
MOVIELENS = ["user", "item", "rating", "time"]


def read(path: pathlib.Path, format: str = "auto", columns: tuple[str, ...] = ()) -> pl.DataFrame:
    """Events of a file, plain or gzip.

    Args:
      path: the file.
      format: a key of FORMATS, or "auto": recognised from the content.
      columns: "role=column" for columns of a table that NAMES does not know.

    Returns:
      The frame that this file's first lines describe, in the file's order.

    Raises:
      ValueError: the file can't be read as that format; names the line and shows its start.
    """
    source = open_source(path)
    if format == "auto":
        format = recognise(source)
    if format not in FORMATS:
        known = "; ".join(f"{name} ({what})" for name, what in FORMATS.items())
        raise ValueError(f"format={format!r} is not known; there are: {known}")
    if format == "sequence":
        return _sequences(source)
    return _events(_table(source, format, columns), _roles(columns))


def recognise(source: SourceFile) -> str:
    """The format of a file, by its first bytes and its first line."""
    if source.data.startswith(b"PAR1"):
        return "parquet"
    line = source.first_line()
    if line.startswith("{"):
        return "json"
    if re.match(r"[^\t]*:(token|token_seq|float|float_seq)(\t|$)", line):
        return "recbole"
    if line.count("::") >= 2:
        return "movielens-dat"
    fields = line.split("\t")
    if len(fields) == 4 and all(re.fullmatch(r"-?\d+(\.\d+)?", field) for field in fields):
        return "movielens-100k"
    if any(mark in line for mark in ",;\t"):
        return "csv"
    return "sequence"


def separator(line: str) -> str:
    """What parts the fields of a header line: the most frequent of tab, comma and semicolon."""
    return max("\t,;", key=line.count)


def _table(source: SourceFile, format: str, columns: tuple[str, ...]) -> Table:
    if format == "movielens-100k":
        return tables.delimited(source, "\t", quoted=False, names=MOVIELENS)
    if format == "movielens-dat":
        return tables.delimited(source, "::", quoted=False, names=MOVIELENS)
    if format == "recbole":
        return tables.delimited(source, "\t", quoted=False)
    if format == "json":
        roles = _roles(columns)
        return tables.json_lines(source, lambda keys: list(assign(source, keys, roles).values()))
    if format == "parquet":
        return tables.parquet(source)
    mark = separator(source.first_line())
    return tables.delimited(source, mark, quoted=mark != "\t")


def _roles(columns: tuple[str, ...]) -> dict[str, str]:
    """{"user": "customer"} from ("user=customer",)."""
    roles = {}
    for pair in columns:
        role, mark, column = pair.partition("=")
        if not mark or role not in NAMES:
            raise ValueError(f"columns={pair!r} is not ROLE=COLUMN with a role of {', '.join(NAMES)}")
        roles[role] = column
    return roles


def assign(source: SourceFile, names: list[str], given: dict[str, str]) -> dict[str, str]:
    """Which column plays which role: {"user": "reviewerID", ...}.

    Raises:
      ValueError: no column is the user or the item, or a given one is not there.
    """
    plain = {name.lower().replace("_", ""): name for name in reversed(names)}
    roles = {}
    for role, known in NAMES.items():
        if role in given:
            if given[role] not in names:
                source.fail(1, f"there is no column {given[role]!r}; the columns are {', '.join(names)}")
            roles[role] = given[role]
            continue
        found = [plain[name] for name in known if name in plain]
        if found:
            roles[role] = found[0]
    for role in ("user", "item"):
        if role not in roles:
            source.fail(
                1,
                f"no column is the {role}; the columns are {', '.join(names)}: name it with --data.columns {role}=...",
            )
    if "review" in roles and "summary" not in roles and "title" in plain:
        roles["summary"] = plain["title"]  # Amazon 2023; without a review, a title is the item's
    return roles


def _sequences(source: SourceFile) -> pl.DataFrame:
    """A line a user; the order of the line is the order of the events."""
    lines = pl.Series("line", source.data.decode("utf-8").split("\n"))
    words = lines.str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
    frame = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)}).with_row_index("line", offset=1)
    frame = frame.filter(pl.col("user") != "")
    alone = frame.filter(pl.col("item").list.len() == 0)
    if alone.height:
        source.fail(alone["line"][0], "a user without items; the format is NAME ITEM ITEM ...")
    again = frame.filter(~pl.col("user").is_first_distinct())
    if again.height:
        source.fail(again["line"][0], f"user {again['user'][0]!r} has a line already, so the order is not known")
    return frame.explode("item").select("user", "item")


def _events(table: Table, given: dict[str, str]) -> pl.DataFrame:
    """The columns that have a role, with their types."""
    if not table.frame.height:
        table.source.fail(1, "the file holds a header and no event")
    roles = assign(table.source, table.frame.columns, given)
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
        table.fail(int(repeated.arg_max() or 0), "the header stands here again")
    return frame


def _numbers(table: Table, role: str, values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64, strict=False)
    bad = ~numbers.is_finite().fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        table.fail(row, f"the {role} {str(values[row])!r} is not a number")
    return numbers


def _milliseconds(table: Table, values: pl.Series) -> pl.Series:
    """Times as i64 milliseconds. Numbers are seconds, milli-, micro- or nanoseconds since 1970, by their size:
    a middle value of 1e11 is 1973 in milliseconds and the year 5138 in seconds, and so on up.
    """
    if values.dtype.is_temporal():
        return values.cast(pl.Datetime("ms")).dt.epoch("ms")
    numbers = _numbers(table, "time", values).to_numpy()
    middle = np.median(np.abs(numbers))
    scale = 1000.0
    for limit in (1e11, 1e14, 1e17):
        if middle >= limit:
            scale /= 1000.0
    return pl.Series(np.rint(numbers * scale).astype(np.int64))
