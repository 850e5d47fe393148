"""Stores the events of a data frame (polars, pandas, pyarrow or any other that narwhals supports) as files."""

from __future__ import annotations

import hashlib
import io
import pathlib
from typing import Any

import narwhals as nw
import polars as pl

from jaxrec.data.readers import values
from jaxrec.data.readers.columns import COLUMN_NAMES, plain
from jaxrec.data.readers.named_table import NamedTable
from jaxrec.data.source_file import SourceFile
from jaxrec.files import write_whole
from jaxrec.text import quoted

TITLES = ("title", "itemtitle", "movietitle")
"""Names of a column of item titles, compared without case and underscores."""


def store_frame(frame: Any, folder: pathlib.Path) -> tuple[str, str | None]:
    """Writes a frame's events into a folder as Parquet, and its items' titles as CSV.

    File names hold a digest of the content, so another frame gets another file.

    Args:
      frame: eager or lazy; columns user and item, optionally time, rating, review and summary (any name in
        COLUMN_NAMES), and title of the item. With review and without summary, title is the review's, as in Amazon's.
      folder: created if missing.
    Returns:
      Names of the events file and of the titles file (None without titles).
    Raises:
      ValueError: `frame` is not a data frame, has no rows, or can't be stored.
    """
    events = _as_polars(frame)
    if not events.height:
        raise ValueError("data is a data frame without rows; give one row for each event of a user with an item")
    folder.mkdir(parents=True, exist_ok=True)
    return _store(events, folder, "events", "parquet"), _store_titles(events, folder)


def is_frame(data: Any) -> bool:
    """Whether narwhals accepts `data` as a data frame."""
    return isinstance(nw.from_native(data, pass_through=True), nw.DataFrame | nw.LazyFrame)


def _as_polars(frame: Any) -> pl.DataFrame:
    if not is_frame(frame):
        raise ValueError(
            f"data is a {type(frame).__name__}; give a file's path or a data frame of polars, pandas or pyarrow"
        )
    narwhals_frame = nw.from_native(frame)
    try:
        eager = narwhals_frame.collect() if isinstance(narwhals_frame, nw.LazyFrame) else narwhals_frame
        return eager.to_polars()
    except Exception as error:  # each library raises its own
        raise ValueError(
            f"data: this {type(frame).__name__} can't be read ({error}); store it as a file first"
        ) from error


def _store_titles(events: pl.DataFrame, folder: pathlib.Path) -> str | None:
    by_plain_name = {plain(name): name for name in reversed(events.columns)}
    title = next((by_plain_name[name] for name in TITLES if name in by_plain_name), None)
    item = next((by_plain_name[name] for name in COLUMN_NAMES["item"] if name in by_plain_name), None)
    has_review, has_summary = (
        any(name in by_plain_name for name in COLUMN_NAMES[role]) for role in ("review", "summary")
    )
    if title is None or item is None or (has_review and not has_summary and title.lower() == "title"):
        return None
    table = NamedTable(SourceFile(pathlib.Path("data"), b"", is_binary=True), events, lambda row: row + 1)
    titles = pl.DataFrame(
        {
            "item": values.names(table, "item", events[item]),
            "title": values.texts(table, "title", events[title]).str.replace_all("\0", "", literal=True),
        }
    ).filter(pl.col("title") != "")
    return _store(titles.unique(maintain_order=True), folder, "titles", "csv") if titles.height else None


def _store(table: pl.DataFrame, folder: pathlib.Path, name: str, format: str) -> str:
    content = io.BytesIO()
    if format == "csv":
        table.write_csv(content, quote_style="always")
    else:
        try:
            table.write_parquet(content)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            kinds = ", ".join(f"{quoted(column)} {dtype}" for column, dtype in table.schema.items())
            raise ValueError(
                f"data: a column of this data frame can't be stored ({error}); the columns are {kinds}: convert or drop"
                " what is neither a text, a number nor a date"
            ) from error
    file = folder / f"{name}-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}.{format}"
    if not file.is_file():
        write_whole(file, content.getvalue())
    return file.name
