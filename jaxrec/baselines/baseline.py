"""What a baseline that learns is: what tables call it, its settings, and how it is trained."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.types import Split


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A baseline that learns; a new one is a file with its model and such a record, and a line in the registry.

    Attributes:
      title: what tables call it.
      settings: a frozen dataclass with its default settings; the command line overrides its fields.
      train: train(settings, split, seed, folder) -> Scorer. It learns from `split.train` alone, `split.valid` may
        select, and it continues from what it finds in the folder.
    """

    title: str
    settings: Any
    train: Callable[[Any, Split, int, pathlib.Path], Scorer]
