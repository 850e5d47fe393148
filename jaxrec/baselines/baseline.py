"""The record of a trained baseline: title, default settings and training function."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.types import Split


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A trained baseline; to add one, write a module with its model and such a record and add a line to the registry.

    Attributes:
      title: its name in tables.
      settings: a frozen dataclass with its default settings; the command line overrides its fields.
      train: train(settings, split, seed, folder) -> Scorer. Trains on `split.train` alone, may use `split.valid` for
        model selection, and resumes from checkpoints in the folder.
      new_users: whether its scores depend on the history alone, so that it also serves users it was not trained on.
    """

    title: str
    settings: Any
    train: Callable[[Any, Split, int, pathlib.Path], Scorer]
    new_users: bool = False
