"""The `data` argument of public functions (None, a file's path, or a data frame) as a `DataConfig`."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.config import Config, DataConfig
from jaxrec.data.frames import store_frame


def on_data(config: Config, data: Any, folder: pathlib.Path) -> Config:
    """The config with other data; format, columns and titles of the config's own data are reset.

    Args:
      config: of the run.
      data: None keeps the config's data; else as for `events_config`.
      folder: where the events of a data frame are stored.
    Raises:
      ValueError: `data` is neither None, a path nor a data frame, or the frame can't be read.
    """
    if data is None:
        return config
    events = events_config(data, folder)
    source = {name: getattr(events, name) for name in ("name", "path", "format", "columns", "items_path")}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **source))


def events_config(
    data: Any,
    folder: pathlib.Path,
    *,
    format: str = "auto",
    columns: Sequence[str] = (),
    items_path: str | os.PathLike[str] | None = None,
) -> DataConfig:
    """The data config of a file or data frame.

    Args:
      data: a file's path, or a data frame, whose events are written into `folder` atomically.
      folder: where the events of a data frame are stored.
      format: name of a reader; "auto" detects it from the file.
      columns: ROLE=COLUMN, for columns whose role is not recognised by name.
      items_path: file of item titles.
    Raises:
      ValueError: `data` is neither a path nor a data frame, or the frame can't be read.
    """
    titles = None if items_path is None else os.fspath(items_path)
    if isinstance(data, str | os.PathLike):
        path = os.fspath(data)
        name = pathlib.Path(path).name
    else:
        path, own_titles = store_frame(data, folder)
        name, titles = "data frame", titles or own_titles
    return DataConfig(name=name, path=path, format=format, columns=tuple(columns), items_path=titles)
