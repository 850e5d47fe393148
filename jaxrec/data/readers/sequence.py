"""Lines of names: a user and their items, oldest first. The fallback if no other reader recognises a file."""

from __future__ import annotations

import polars as pl

from jaxrec.data.readers.reader import Reader
from jaxrec.data.source_file import SourceFile


def read_sequences(source: SourceFile, columns: dict[str, str]) -> pl.DataFrame:
    """Reads one user per line; the order within the line is the order of the events.

    Args:
      source: the file.
      columns: not used, as the columns have no names.

    Raises:
      ValueError: a user has no item or more than one line.
    """
    del columns
    lines = pl.Series("line", source.data.decode("utf-8").split("\n"))
    words = lines.str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
    frame = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)}).with_row_index("line", offset=1)
    frame = frame.filter(pl.col("user") != "")
    without_items = frame.filter(pl.col("item").list.len() == 0)
    if without_items.height:
        source.fail(without_items["line"][0], "a user without items; the format is NAME ITEM ITEM ...")
    repeated = frame.filter(~pl.col("user").is_first_distinct())
    if repeated.height:
        name = repeated["user"][0]
        source.fail(repeated["line"][0], f"user {name!r} has a line already, so the order is not known")
    return frame.explode("item").select("user", "item")


READER = Reader("a line a user: NAME ITEM ITEM ..., oldest first", read_sequences, recognises=lambda source: True)
