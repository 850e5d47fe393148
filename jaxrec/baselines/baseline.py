"""The record of a trained baseline: title, default settings and training function."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.types import Attributes, Split

NO_ATTRIBUTES = (
    "learns from attributes of items, and this data has none; name the file of items and its columns in the config:"
    ' data.items_path="items.csv" and data.attributes=("genres", "brand")'
)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A trained baseline; to add one, write a module with its model and such a record and add a line to the registry.

    Attributes:
      title: its name in tables.
      settings: a frozen dataclass with its default settings; the command line overrides its fields.
      train: train(settings, split, seed, folder) -> Scorer. Trains on `split.train` alone, may use `split.valid` for
        model selection, and resumes from checkpoints in the folder.
      new_users: whether its scores depend on the history alone, so that it also serves users it was not trained on.
      attributes: whether it learns from `split.attributes`, and can't be trained where they are None.
      most_items: catalogue up to which it is worth its memory and time in a blend, 0 = any.
    """

    title: str
    settings: Any
    train: Callable[[Any, Split, int, pathlib.Path], Scorer]
    new_users: bool = False
    attributes: bool = False
    most_items: int = 0


def attributes_for(title: str, split: Split) -> Attributes:
    """The attributes of a split's items, for the baseline of a title.

    Raises:
      ValueError: there are none.
    """
    if split.attributes is None:
        raise ValueError(f"{title} {NO_ATTRIBUTES}")
    return split.attributes
