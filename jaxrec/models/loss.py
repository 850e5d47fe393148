"""What a loss is: which answers it is of, and how it is computed for a packed batch."""

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
    """A loss that a language model is trained with; a new one is a file with such a record and a line in the registry.

    Attributes:
      answer: "id" where the model says ids or words token by token (`TrainConfig.loss` names it), "vector" where it
        answers with a vector (`RetrievalConfig.loss` names it).
      make: make(train) -> loss(model, batch, key), of a `TrainConfig`; pure, and traced once.
    """

    answer: Literal["id", "vector"]
    make: Callable[[TrainConfig], Any]
