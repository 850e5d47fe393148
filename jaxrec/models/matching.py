"""Common part of losses between the model's output vector and the target item's; TokenRec, section 2.4."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrec.config import TrainConfig
from jaxrec.keys import stream
from jaxrec.models.loss import BatchLoss, Loss
from jaxrec.models.retriever import LABELS, Retriever
from jaxrec.models.unit import unit
from jaxrec.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class Matches:
    """Output vectors and targets of a batch.

    Attributes:
      model: its config holds margin, temperature and the like; `items` holds the item vectors, `known` the training
        events.
      z: output vectors of length 1, f32[B,F].
      cosine: with the target item, f32[B].
      items: the target items, i32[B].
      users: the users, i32[B].
      key: for drawing negatives.
    """

    model: Retriever
    z: Array
    cosine: Array
    items: Array
    users: Array
    key: jax.Array


def matching_loss(of_examples: Callable[[Matches], jax.Array]) -> Loss:
    """The record of a loss of vectors.

    Args:
      of_examples: of_examples(matches) -> each example's loss, f32[B].
    """

    def loss(model: Retriever, batch: Batch, key: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
        rows, slots = batch.target.shape[0], batch.target.shape[1] // LABELS
        labels = batch.target.reshape(rows * slots, LABELS)
        weights = batch.weights.reshape(rows * slots, LABELS)[:, 0]
        z = unit(model(batch.source, batch.source_segments, slots, key=key)).reshape(rows * slots, -1)
        # Without a key there is no dropout, and negatives come from a fixed one.
        draw = stream(jax.random.key(0) if key is None else key, "negatives")
        cosine = jnp.sum(z * model.items[...][labels[:, 0]], axis=-1)
        losses = of_examples(Matches(model, z, cosine, labels[:, 0], labels[:, 1], draw))
        if model.config.align:
            users = model.users[...][labels[:, 1]]
            losses += model.config.align * (jnp.any(users != 0, axis=1) - jnp.sum(z * users, axis=-1))
        total = jnp.maximum(jnp.sum(weights), 1e-6)
        mean = jnp.sum(weights * losses) / total
        return mean, {"loss": mean, "cosine": jnp.sum(weights * cosine) / total}

    def make(train: TrainConfig) -> BatchLoss:
        del train  # the model's own config says all
        return loss

    return Loss("vector", make)
