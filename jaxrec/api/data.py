"""What is given as data - nothing, a file's path, or a data frame - as the config that names it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.config import Config, DataConfig
from jaxrec.data.frames import store_frame


def on_data(config: Config, data: Any, folder: pathlib.Path) -> Config:
    """The config on other data; what it said of its own file's format, columns and titles is dropped.

    Args:
      config: of the run.
      data: None keeps the config's own; else as of `events_config`.
      folder: gets the events of a data frame.
    """
    if data is None:
        return config
    events = events_config(data, folder)
    changed = {name: getattr(events, name) for name in ("name", "path", "format", "columns", "items_path")}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changed))


def events_config(
    data: Any,
    folder: pathlib.Path,
    *,
    format: str = "auto",
    columns: Sequence[str] = (),
    items_path: str | os.PathLike[str] | None = None,
) -> DataConfig:
    """A config that names some events.

    Args:
      data: a file's path, or a data frame, whose events are written into `folder` whole.
      folder: gets a data frame's events.
      format: of a file; "auto" recognises it.
      columns: "ROLE=COLUMN" where names of columns don't say what they hold.
      items_path: a file of item titles.
    Raises:
      ValueError: `data` is neither.
    """
    titles = None if items_path is None else os.fspath(items_path)
    if isinstance(data, str | os.PathLike):
        path = os.fspath(data)
        name = pathlib.Path(path).name
    else:
        path, own_titles = store_frame(data, folder)
        name, titles = "data frame", titles or own_titles
    return DataConfig(name=name, path=path, format=format, columns=tuple(columns), items_path=titles)
