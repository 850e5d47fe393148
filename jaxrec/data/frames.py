"""Events in a data frame of polars, pandas, pyarrow or another library that narwhals knows, stored as files to read."""

from __future__ import annotations

import hashlib
import io
import pathlib
from typing import Any

import narwhals as nw
import polars as pl

from jaxrec.data.readers.columns import COLUMN_NAMES
from jaxrec.files import write_whole

TITLES = ("title", "itemtitle", "movietitle")
"""What a frame's column of item titles is called, compared without case and underscores."""


def store_frame(frame: Any, folder: pathlib.Path) -> tuple[str, str | None]:
    """Writes a frame's events whole into a folder, as Parquet, and its items' titles beside them.

    A file's name holds a digest of its content: another frame gets another file.

    Args:
      frame: eager or lazy, with columns as a file's are called: user, item and maybe time, rating, review, summary;
        and maybe title, the item's (with review and without summary it is the review's, as Amazon calls it).
      folder: is made where it is not there.
    Returns:
      names of the file of events and, where there are titles, of the file of titles, else None.
    Raises:
      ValueError: it is no data frame, has no rows, or holds what can't be stored.
    """
    events = _as_polars(frame)
    if not events.height:
        raise ValueError("data is a data frame without rows; give one row for each event of a user with an item")
    folder.mkdir(parents=True, exist_ok=True)
    return _store(events, folder, "events", "parquet"), _store_titles(events, folder)


def is_frame(data: Any) -> bool:
    """Whether narwhals knows it as a data frame."""
    return isinstance(nw.from_native(data, pass_through=True), nw.DataFrame | nw.LazyFrame)


def _as_polars(frame: Any) -> pl.DataFrame:
    if not is_frame(frame):
        raise ValueError(
            f"data is a {type(frame).__name__}; give a file's path or a data frame of polars, pandas or pyarrow"
        )
    known = nw.from_native(frame)
    try:
        eager = known.collect() if isinstance(known, nw.LazyFrame) else known
        return eager.to_polars()
    except Exception as error:  # each library raises its own
        raise ValueError(
            f"data: this {type(frame).__name__} can't be read ({error}); store it as a file first"
        ) from error


def _store_titles(events: pl.DataFrame, folder: pathlib.Path) -> str | None:
    plain = {name.lower().replace("_", ""): name for name in reversed(events.columns)}
    title = next((plain[name] for name in TITLES if name in plain), None)
    item = next((plain[name] for name in COLUMN_NAMES["item"] if name in plain), None)
    has_review, has_summary = (any(name in plain for name in COLUMN_NAMES[role]) for role in ("review", "summary"))
    if title is None or item is None or (has_review and not has_summary and title.lower() == "title"):
        return None
    pairs = events.select(pl.col(item).cast(pl.String).alias("item"), pl.col(title).cast(pl.String).alias("title"))
    titles = pairs.drop_nulls().unique("item", keep="first", maintain_order=True)
    return _store(titles, folder, "titles", "csv") if titles.height else None


def _store(table: pl.DataFrame, folder: pathlib.Path, name: str, format: str) -> str:
    content = io.BytesIO()
    if format == "csv":
        table.write_csv(content)
    else:
        table.write_parquet(content)
    file = folder / f"{name}-{hashlib.sha256(content.getvalue()).hexdigest()[:16]}.{format}"
    if not file.is_file():
        write_whole(file, content.getvalue())
    return file.name
