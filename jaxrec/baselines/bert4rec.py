"""BERT4Rec (Sun et al. 2019): bidirectional self-attention trained to predict masked items, softmax over all items."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import (
    NextItem,
    SequenceConfig,
    embedding_table,
    linear,
    positions_in_segment,
    segment_starts,
)
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.baselines.sasrec import Block
from jaxrec.config.limits import Fraction, Layers, Limits, PositiveFloat, Probability, Width
from jaxrec.keys import stream
from jaxrec.models.dropout import Dropout
from jaxrec.models.full_softmax import cross_entropy
from jaxrec.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class Bert4RecConfig(SequenceConfig):
    """As in the paper, except for pre-layer normalisation (as in SASRec) and no output bias."""

    layers: Layers = 2
    """Layers, each with attention and a feed-forward part."""
    heads: Annotated[int, Limits(at_least=1, at_most=1024)] = 2
    """Attention heads of a layer."""
    inner: Width = 256
    """Hidden width of the feed-forward layers."""
    mask: Annotated[float, Limits(above=0, at_most=1)] = 0.3
    """Share of the items that are masked, rho."""
    last: Fraction = 0.2
    """Share of the sequences in which only the last item is masked, as at inference."""
    dropout: Probability = 0.2
    epochs: PositiveFloat = 200
    validate_every: PositiveFloat = 4


class Bert4Rec(NextItem):
    """Blocks of bidirectional self-attention over items, masks and positions.

    Args:
      config: shape and training.
      n_items: I; the token of a mask is I + 1.
    """

    config: Bert4RecConfig

    def __init__(self, config: Bert4RecConfig, n_items: int, *, rngs: nnx.Rngs) -> None:
        if config.dim % config.heads:
            raise ValueError(f"dim={config.dim} doesn't divide among heads={config.heads}; give a multiple")
        self.config = config
        self.item_embedding = embedding_table(n_items + 1, config.dim, rngs=rngs)
        self.position_embedding = embedding_table(config.length + 1, config.dim, rngs=rngs)
        shape = config.dim, config.heads, config.inner, config.compute_dtype
        self.blocks = nnx.List([Block(*shape, activation=jax.nn.gelu, rngs=rngs) for _ in range(config.layers)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)
        self.output = linear(config.dim, config.dim, config.compute_dtype, rngs=rngs)
        self.output_norm = nnx.LayerNorm(config.dim, rngs=rngs)

    @property
    def items(self) -> jax.Array:
        """Item embeddings, also the output weights, f32[I, D]."""
        return self.item_embedding[...][:-1]

    @property
    def mask_token(self) -> int:
        """The token of a masked item."""
        return self.item_embedding.shape[0]

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`; positions attend to their whole sequence, which may hold masks and be `length` + 1 long."""
        drop = Dropout(self.config.dropout, key)
        segments = jnp.asarray(segments)
        place = jnp.minimum(positions_in_segment(segments), self.config.length)
        x = self.item_embedding[...][jnp.maximum(tokens - 1, 0)] * self.config.dim**0.5
        x = jnp.where(segments[..., None] > 0, drop(x + self.position_embedding[...][place]), 0)
        mask = segments[:, :, None] == segments[:, None, :]
        for block in self.blocks:
            x = block(x, mask, drop)
        return self.output_norm(jax.nn.gelu(self.output(self.norm(x), drop)))

    def answers(self, tokens: Array, users: Array) -> jax.Array:
        """The vector of a mask token appended to each history."""
        del users
        tokens = jnp.pad(jnp.asarray(tokens), ((0, 0), (0, 1)))
        is_item = tokens > 0
        end = is_item.sum(axis=1, keepdims=True)
        masked = jnp.where(jnp.arange(tokens.shape[1])[None] == end, self.mask_token, tokens)
        hidden = self(masked, (masked > 0).astype(jnp.int32))
        return jnp.take_along_axis(hidden, end[..., None], axis=1)[:, 0]


def cloze_loss(model: Bert4Rec, batch: Batch, key: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy over all items at the masked positions; BERT4Rec, eq. 8.

    Args:
      model: the model.
      batch: source and target hold the same sequences.
      key: of masks and dropout; None masks by a fixed key and uses no dropout.
    Returns:
      The mean over masked positions, f32[], and no further metrics.
    """
    config = model.config
    masked = draw_masks(
        batch.source_segments, config.mask, config.last, stream(jax.random.key(0) if key is None else key, "masks")
    )
    tokens = jnp.where(masked, model.mask_token, batch.source)
    states = model(tokens, batch.source_segments, key=key)
    # Each position in the loss costs a product with all items, so only the masked ones are taken, up to a static bound.
    max_masked = min(tokens.size, round(tokens.size * min(1.0, 2 * config.mask + config.last)))
    weights, positions = jax.lax.top_k(masked.reshape(-1).astype(jnp.float32), max_masked)
    flat = states.reshape(-1, states.shape[-1])[positions]
    labels = jnp.asarray(batch.target).reshape(-1)[positions] - 1
    return cross_entropy(flat, model.items, labels, weights, config.compute_dtype), {}


def draw_masks(segments: Array, mask: float, last: float, key: jax.Array) -> jax.Array:
    """Mask of positions, bool[B, S]: each with probability `mask`, or only the last in a share `last` of the sequences.

    Args:
      segments: i32[B, S], 0 = padding.
      mask: in [0, 1].
      last: in [0, 1].
      key: random key.
    """
    segments = jnp.asarray(segments)
    position_draws, sequence_draws = jax.random.uniform(key, (2, *segments.shape))
    index = jnp.arange(segments.shape[1])[None]
    first = index - positions_in_segment(segments)
    last_only = jnp.take_along_axis(sequence_draws, first, axis=1) < last  # one draw per sequence
    ends = jnp.pad(segment_starts(segments)[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    return (segments > 0) & jnp.where(last_only, ends, position_draws < mask)


BASELINE = next_item_baseline("BERT4Rec", Bert4Rec, Bert4RecConfig(), loss=cloze_loss, ahead=0)
