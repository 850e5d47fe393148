"""The `data` argument of public functions (None, a file's path, or a data frame) as a `DataConfig`."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from jaxrec.config import Config, DataConfig
from jaxrec.data.frames import store_frame


def on_data(config: Config, data: Any, folder: pathlib.Path) -> Config:
    """The config with other data; how the config's own data are read is reset.

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
    assert events.path is not None
    on_file = dataclasses.replace(config.data.on_file(events.path, events.name), items_path=events.items_path)
    return dataclasses.replace(config, data=on_file)


def events_config(
    data: Any,
    folder: pathlib.Path,
    *,
    items_path: str | os.PathLike[str] | None = None,
    **reading: Any,
) -> DataConfig:
    """The data config of a file or data frame.

    Args:
      data: a file's path, or a data frame, whose events are written into `folder` atomically.
      folder: where the events of a data frame are stored.
      items_path: file of item titles.
      reading: further fields of `DataConfig`: format, columns, separator, encoding, ...; not used for a data frame,
        but for columns.
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
        reading = {"columns": reading.get("columns", ())}
    return DataConfig(name=name, path=path, items_path=titles, **reading)
