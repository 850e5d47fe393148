"""The record of a loss of a language model on packed batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax

from jaxrec.config import TrainConfig

BatchLoss = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
"""loss(model, batch, key=None) -> its mean over the batch, f32[], and metrics, among them "loss", f32[]."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """A training loss; to add one, write a module with such a record and add a line to the registry.

    Attributes:
      answer: "id" if the model generates ids or text (selected by `TrainConfig.loss`), "vector" if it outputs a vector
        (selected by `RetrievalConfig.loss`).
      make: make(train) -> loss(model, batch, key), of a `TrainConfig`; pure, and traced once.
    """

    answer: Literal["id", "vector"]
    make: Callable[[TrainConfig], Any]
