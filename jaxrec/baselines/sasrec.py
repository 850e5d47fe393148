"""SASRec (Kang and McAuley 2018): causal self-attention over the history, here with cross-entropy over all items."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import NextItem, SequenceConfig, embedding_table, linear, positions_in_segment
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.config.limits import Layers, Limits, Width
from jaxrec.models.attention import attend
from jaxrec.models.dropout import Dropout
from jaxrec.types import Array


@dataclasses.dataclass(frozen=True)
class SasRecConfig(SequenceConfig):
    """As in the paper, except for the loss: the paper's has one negative per position (Klenitskiy, Vasilev 2023)."""

    layers: Layers = 2
    """Layers, each with attention and a feed-forward part."""
    heads: Annotated[int, Limits(at_least=1, at_most=1024)] = 2
    """Attention heads of a layer."""
    inner: Width = 64
    """Hidden width of the feed-forward layers; `dim` in the paper."""


class SasRec(NextItem):
    """Blocks of causal self-attention and feed-forward layers over item and position embeddings.

    Args:
      config: shape and training.
      n_items: I.
    Raises:
      ValueError: the heads don't divide the width.
    """

    def __init__(self, config: SasRecConfig, n_items: int, *, rngs: nnx.Rngs) -> None:
        if config.dim % config.heads:
            raise ValueError(f"dim={config.dim} doesn't divide among heads={config.heads}; give a multiple")
        self.config = config
        self.item_embedding = embedding_table(n_items, config.dim, rngs=rngs)
        self.position_embedding = embedding_table(config.length, config.dim, rngs=rngs)
        shape = config.dim, config.heads, config.inner, config.compute_dtype
        self.blocks = nnx.List([Block(*shape, activation=jax.nn.relu, rngs=rngs) for _ in range(config.layers)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)

    @property
    def items(self) -> jax.Array:
        """Item embeddings, also the output weights, f32[I, D]."""
        return self.item_embedding[...]

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`; each position attends to itself and earlier positions of its sequence."""
        return self.encoded(self.items[jnp.maximum(tokens - 1, 0)], segments, key=key)

    def encoded(
        self, vectors: jax.Array, segments: Array, *, causal: bool = True, key: jax.Array | None = None
    ) -> jax.Array:
        """The blocks over vectors f32[B, S, D] of what stands at each position; `causal` False attends to all of it."""
        drop = Dropout(self.config.dropout, key)
        segments = jnp.asarray(segments)
        place = jnp.minimum(positions_in_segment(segments), self.config.length - 1)
        x = vectors * self.config.dim**0.5 + self.position_embedding[...][place]
        x = jnp.where(segments[..., None] > 0, drop(x), 0)
        mask = segments[:, :, None] == segments[:, None, :]
        if causal:
            mask &= jnp.tri(segments.shape[1], dtype=bool)[None]
        for block in self.blocks:
            x = block(x, mask, drop)
        return self.norm(x)


class Block(nnx.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)); SASRec, section III.C.

    Args:
      dim, heads, inner: widths.
      dtype: of the products' operands.
      activation: between the two feed-forward layers.
    """

    def __init__(self, dim: int, heads: int, inner: int, dtype: str, *, activation, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.query, self.key, self.value, self.output = (linear(dim, dim, dtype, rngs=rngs) for _ in range(4))
        self.feed_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.wide, self.narrow = linear(dim, inner, dtype, rngs=rngs), linear(inner, dim, dtype, rngs=rngs)
        self.heads, self.dtype, self.activation = heads, dtype, activation

    def __call__(self, x: jax.Array, mask: jax.Array, drop: Dropout) -> jax.Array:
        """X f32[B, S, D] and mask bool[B, S, S], True = attend -> f32[B, S, D]."""
        x = x + drop(self.attention(self.attention_norm(x), mask, drop))
        inner = drop(self.activation(self.wide(self.feed_norm(x), drop)))
        return x + drop(self.narrow(inner, drop))

    def attention(self, x: jax.Array, mask: jax.Array, drop: Dropout) -> jax.Array:
        """Multi-head self-attention with biases, softmax(q k / sqrt(K)) v; shapes as for the block."""
        batch, length, dim = x.shape

        def split(y: jax.Array) -> jax.Array:
            return y.reshape(batch, length, self.heads, dim // self.heads).transpose(0, 2, 1, 3)

        q = split(self.query(x, drop)) * (dim // self.heads) ** -0.5
        attended = attend(q, split(self.key(x, drop)), split(self.value(x, drop)), None, mask, drop, self.dtype)
        return self.output(attended.transpose(0, 2, 1, 3).reshape(batch, length, dim), drop)


BASELINE = next_item_baseline("SASRec", SasRec, SasRecConfig())
