"""Common parts of next-item models: settings, base class, losses, and helpers for packed sequences."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.config import NO_AUGMENTATION, AugmentConfig, LoraConfig
from jaxrec.config.limits import (
    LearningRate,
    Length,
    Limits,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    Probability,
    Width,
)
from jaxrec.models.full_softmax import cross_entropy
from jaxrec.models.linear import Linear
from jaxrec.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class SequenceConfig:
    """Shape and training of a next-item model; the defaults were chosen on Beauty's validation items."""

    dim: Width = 64
    """Width of the vectors."""
    length: Length = 50
    """Maximum number of newest items of a history that are read."""
    dropout: Probability = 0.5
    """Probability that a value is dropped in training."""
    rows: Annotated[int, Limits(at_least=1, at_most=65_536)] = 32
    """Packed rows in a batch; sequences share rows, separated by segments."""
    row_length: Length = 64
    """Items in a row, at least `length`."""
    learning_rate: LearningRate = 2e-3
    """Step size of Adam at its highest, after the warm-up."""
    schedule: Literal["linear", "cosine", "constant"] = "constant"
    """How the learning rate falls after the warm-up: along a line to 0, along half a cosine to 0, or not at all."""
    warmup: Probability = 0.0
    """Share of the steps with a rising learning rate."""
    weight_decay: Annotated[float, Limits(at_least=0, at_most=100)] = 0.0
    """Decoupled weight decay of AdamW."""
    clip: NonNegativeFloat = 1.0
    """Maximum global norm of the gradient; 0 = no clipping."""
    epochs: PositiveFloat = 80
    """Maximum; training stops early when validation no longer improves."""
    validate_every: PositiveFloat = 2
    """Epochs between validations."""
    validate_users: NonNegativeInt = 0
    """Users per validation, drawn once; 0 takes all."""
    patience: NonNegativeInt = 5
    """Validations without a better NDCG@10 before training stops; 0 never stops early."""
    augment: AugmentConfig = NO_AUGMENTATION
    """Training histories that vary from epoch to epoch, of models that predict the next item."""
    average: Probability = 0.0
    """Decay a step of a moving average of the weights, which is validated and kept; 0: none."""
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Dtype of matrix products; parameters, softmax, norms and loss stay float32."""


class NextItem(nnx.Module):
    """A model that gives a vector at each position of a sequence; scores are its inner products with `items`."""

    config: SequenceConfig

    @property
    def items(self) -> jax.Array:
        """Output weights of the items, f32[I, D]."""
        raise NotImplementedError

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """Vectors at all positions of packed sequences.

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
        del users  # few models use them
        return last_vectors(self, tokens)


def next_item_loss(
    model: NextItem, batch: Batch, key: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy over all items of the next item at each position of the batch's sequences.

    Args:
      model: the model.
      batch: source holds the sequences, target the next item at the same positions.
      key: of dropout, or None.
    Returns:
      The mean over positions, f32[], and no further metrics.
    """
    return softmax_loss(model, model(batch.source, batch.source_segments, key=key), batch), {}


def softmax_loss(model: NextItem, hidden: jax.Array, batch: Batch) -> jax.Array:
    """`next_item_loss` of the model's vectors f32[B, S, D] of a batch."""
    flat = hidden.reshape(-1, hidden.shape[-1])
    labels, weights = batch.target.reshape(-1) - 1, batch.weights.reshape(-1)
    return cross_entropy(flat, model.items, labels, weights, model.config.compute_dtype)


def pairwise_loss(
    model: NextItem, hidden: jax.Array, batch: Batch, key: jax.Array | None, *, ahead: int = 1
) -> jax.Array:
    """BPR (Rendle et al. 2009): each of the next items scores above an item drawn at random.

    The mean of -log sigmoid(h w_i - h w_j) over positions and the next `ahead` items i of the sequence, each with a j
    of its own, drawn uniformly from all items. Pairs whose j is in the sequence are left out.

    Args:
      model: the model; its `items` are w.
      hidden: its vectors h at the positions of the batch, f32[B, S, D].
      batch: source holds the sequences, target the next item at the same positions.
      key: of the drawn items; None draws by a fixed key.
      ahead: T, at least 1; fewer items are left towards the end of a sequence.
    Returns:
      f32[], 0 where there is no pair.
    """
    items, target, segments = model.items, jnp.asarray(batch.target), jnp.asarray(batch.target_segments)
    tokens = jnp.concatenate([jnp.asarray(batch.source), target], axis=1)
    of_sequence = jnp.concatenate([jnp.asarray(batch.source_segments), segments], axis=1)
    own = segments[:, :, None] == of_sequence[:, None, :]
    rows = items[jnp.maximum(target - 1, 0)]
    total, pairs = jnp.zeros(()), jnp.zeros(())
    for step in range(ahead):
        size = max(segments.shape[1] - step, 0)
        draw = jax.random.fold_in(jax.random.key(0) if key is None else key, step)
        drawn = jax.random.randint(draw, (segments.shape[0], size), 0, items.shape[0])
        taken = (own[:, :size] & (drawn[:, :, None] + 1 == tokens[:, None, :])).any(axis=2)
        weights = batch.weights[:, step:] * ((segments[:, :size] == segments[:, step:]) & ~taken)
        margins = (hidden[:, :size] * (rows[:, step:] - items[drawn])).sum(axis=2)
        total += (weights * jax.nn.softplus(-margins)).sum()
        pairs += weights.sum()
    return total / jnp.maximum(pairs, 1)


def last_vectors(model: NextItem, tokens: Array) -> jax.Array:
    """The model's vector at the last token of each row, i32[B, S] padded with 0 on the right -> f32[B, D]."""
    is_item = jnp.asarray(tokens) > 0
    hidden = model(tokens, is_item.astype(jnp.int32))
    last = jnp.maximum(is_item.sum(axis=1) - 1, 0)
    return jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]


def positions_in_segment(segments: Array) -> jax.Array:
    """Position within the segment, from 0, i32[B, S]."""
    index = jnp.arange(segments.shape[1])[None]
    return index - jax.lax.cummax(jnp.where(segment_starts(segments), index, 0), axis=1)


def segment_starts(segments: Array) -> jax.Array:
    """Mask of the positions at which a segment starts, bool[B, S]."""
    segments = jnp.asarray(segments)
    return segments != jnp.pad(segments[:, :-1], ((0, 0), (1, 0)))


def linear(rows: int, columns: int, dtype: str, *, rngs: nnx.Rngs) -> Linear:
    """A linear layer with a bias and without LoRA."""
    return Linear(rows, columns, dtype, bias=True, lora=LoraConfig(), adapted=False, rngs=rngs)


def embedding_table(rows: int, dim: int, *, rngs: nnx.Rngs) -> nnx.Param:
    """A fresh embedding table, f32[rows, dim], normal with deviation 0.02."""
    return nnx.Param(0.02 * jax.random.normal(rngs.params(), (rows, dim)))
