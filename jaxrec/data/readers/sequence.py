"""Lines of names with blanks between them: a user and their items, or a user and one item.

The first is the fallback if no other reader recognises a file. Blanks are spaces and tabs; every other character is
part of a name.
"""

from __future__ import annotations

import polars as pl

from jaxrec.data.readers.columns import events_of
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.readers.reader import Reader, ReadOptions
from jaxrec.data.source_file import SourceFile
from jaxrec.text import quoted
from jaxrec.types import DataError


def read_sequences(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Reads one user per line; the order within the line is the order of the events.

    Users without items are left out and counted in a note.

    Args:
      source: the file.
      options: not used, as the columns have no names and there are no times.

    Raises:
      DataError: a user has more than one line, or names are separated by something else.
    """
    lines = _lines_of_names(source, options)
    is_pair = (lines["names"].list.len() == 2).all()
    n_lines = lines.height
    lines = lines.filter(pl.col("names").list.len() > 1)
    if lines.height < n_lines:
        source.note(f"{n_lines - lines.height} users have no items and were left out")
    repeated = lines.filter(~pl.col("user").is_first_distinct())
    if repeated.height:
        name = repeated["user"][0]
        advice = "; if a line is one event of a user with an item, oldest first, say --data.format pairs"
        source.fail(
            repeated["line"][0],
            f"user {quoted(name)} has a line already, so the order is not known{advice if is_pair else ''}",
        )
    if not lines.height:
        raise DataError(f"{source.path}: no user has an item; the format is NAME ITEM ITEM ...")
    events = lines.select("line", "user", item=pl.col("names").list.slice(1)).explode("item")
    return _events(source, events)


def read_pairs(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Reads one event per line, USER ITEM, oldest first.

    Raises:
      DataError: a line does not hold two names.
    """
    lines = _lines_of_names(source, options)
    is_pair = pl.col("names").list.len() == 2
    for line, names in lines.filter(~is_pair).select("line", "names").iter_rows():
        source.refuse(line, f"{len(names)} names where two are expected, USER ITEM")
    lines = lines.filter(is_pair)
    return _events(source, lines.select("line", "user", item=pl.col("names").list.last()))


def _lines_of_names(source: SourceFile, options: ReadOptions) -> pl.DataFrame:
    """Numbers, first names and all names of the lines that are not blank."""
    if options.columns:
        raise ValueError("columns names columns, and a file of names alone has none; leave --data.columns out")
    if b"\r" in source.data and source.data.count(b"\r") != source.data.count(b"\r\n"):
        for number, line in enumerate(source.data.split(b"\n"), start=1):
            if b"\r" in line.removesuffix(b"\r"):
                source.fail(number, "a carriage return without a line feed after it; end lines with \\n or \\r\\n")
    number, first = source.first()
    head = first.replace("\t", " ").split(" ")
    if len(head) > 1 and (head[0].endswith((":", ",")) or all(name.endswith(",") for name in head[1:-1] or [""])):
        source.fail(
            number,
            "commas or colons stand between the names; the format is NAME ITEM ITEM ... with blanks between them, as"
            " sed 's/[:,]/ /g' makes it",
        )
    lines = pl.Series("line", source.data.decode("utf-8").split("\n"))
    words = lines.str.strip_chars(" \t\r").str.replace_all("[ \t]+", " ").str.split(" ")
    frame = pl.DataFrame({"user": words.list.first(), "names": words}).with_row_index("line", offset=1)
    return frame.filter(pl.col("user") != "")


def _events(source: SourceFile, events: pl.DataFrame) -> pl.DataFrame:
    numbers = events["line"]
    table = NamedTable(source, events.select("user", "item"), lambda row: int(numbers[row]))
    return events_of(table, ReadOptions(), roles={"user": "user", "item": "item"})


SEQUENCES = Reader(
    "a line a user: NAME ITEM ITEM ..., oldest first",
    read_sequences,
    recognises=lambda source: True,
    sign="no other format fits its first line",
)
PAIRS = Reader("a line an event: USER ITEM, oldest first", read_pairs)
