"""What models of the next item share: settings, item tokens, packed sequences and the loss over all items."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.full_softmax import cross_entropy
from jaxrec.config import LoraConfig
from jaxrec.models.linear import Linear
from jaxrec.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class SequenceConfig:
    """Shape and training of a model that reads a history and scores every item; chosen on Beauty's validation items."""

    dim: int = 64
    length: int = 50
    """Newest items of a history that are read."""
    dropout: float = 0.5
    rows: int = 32
    """Packed rows in a batch; sequences share rows, kept apart by segments."""
    row_length: int = 64
    """Items in a row, at least `length`."""
    learning_rate: float = 2e-3
    schedule: Literal["linear", "cosine", "constant"] = "constant"
    warmup: float = 0.0
    """Share of the steps with a rising learning rate."""
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest global norm of the gradient; 0 = no clipping."""
    epochs: float = 80
    """At most; training stops when validation no longer improves."""
    validate_every: float = 2
    """Epochs between validations."""
    validate_users: int = 0
    """Users per validation, drawn once; 0 takes all."""
    patience: int = 5
    """Validations without a better NDCG@10 before training stops; 0 never stops early."""
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Dtype of matrix products; parameters, softmax, norms and loss stay float32."""


class NextItem(nnx.Module):
    """A model whose answer at each place of a sequence is a vector, and whose scores are its products with `items`."""

    config: SequenceConfig

    @property
    def items(self) -> jax.Array:
        """What scores each item, f32[I, D]."""
        raise NotImplementedError

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """Vectors of all places of packed sequences.

        Args:
          tokens: item + 1, i32[B, S]; 0 = padding.
          segments: i32[B, S]; 1, 2, ... number a row's sequences, 0 = padding; none is longer than `config.length`.
          key: of dropout, or None.
        Returns:
          f32[B, S, D].
        """
        raise NotImplementedError

    def answers(self, tokens: Array, users: Array) -> jax.Array:
        """The vector at the end of each history: tokens i32[B, S] padded on the right, users i32[B] -> f32[B, D]."""
        del users  # few models know them
        return at_end(self, tokens)


def next_item_loss(
    model: NextItem, batch: Batch, key: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy over all items of what follows each place of the batch's sequences.

    Args:
      model: any of them.
      batch: source holds the sequences, target what follows each of their items, in the same places.
      key: of dropout, or None.
    Returns:
      The mean over places, f32[], and no further metrics.
    """
    hidden = model(batch.source, batch.source_segments, key=key)
    flat = hidden.reshape(-1, hidden.shape[-1])
    labels, weights = batch.target.reshape(-1) - 1, batch.weights.reshape(-1)
    return cross_entropy(flat, model.items, labels, weights, model.config.compute_dtype), {}


def at_end(model: NextItem, tokens: Array) -> jax.Array:
    """What a model has at the last token of each row, i32[B, S] padded with 0 on the right -> f32[B, D]."""
    held = jnp.asarray(tokens) > 0
    hidden = model(tokens, held.astype(jnp.int32))
    last = jnp.maximum(held.sum(axis=1) - 1, 0)
    return jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]


def places(segments: Array) -> jax.Array:
    """Each place's number within its segment, from 0, i32[B, S]."""
    index = jnp.arange(segments.shape[1])[None]
    return index - jax.lax.cummax(jnp.where(starts(segments), index, 0), axis=1)


def starts(segments: Array) -> jax.Array:
    """Whether a segment starts here, bool[B, S]."""
    segments = jnp.asarray(segments)
    return segments != jnp.pad(segments[:, :-1], ((0, 0), (1, 0)))


def linear(rows: int, columns: int, dtype: str, *, rngs: nnx.Rngs) -> Linear:
    """A layer with a bias, trained whole."""
    return Linear(rows, columns, dtype, bias=True, lora=LoraConfig(), adapted=False, rngs=rngs)


def table(rows: int, dim: int, *, rngs: nnx.Rngs) -> nnx.Param:
    """A fresh embedding table, f32[rows, dim], normal with deviation 0.02."""
    return nnx.Param(0.02 * jax.random.normal(rngs.params(), (rows, dim)))
