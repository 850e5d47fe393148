"""A T5 that answers with a vector: decoder start prompt, pooling, three-layer projection; TokenRec, eq. 17 and 18."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import RetrievalConfig
from jaxrec.keys import stream
from jaxrec.models.oov import Buffer
from jaxrec.models.products import dense
from jaxrec.models.t5 import T5

LABELS = 2
"""What a batch's target holds of each example: the item's number and the user's."""


class Projection(nnx.Module):
    """Three layers from the decoder's width to the item vectors', relu between them; TokenRec, eq. 18."""

    def __init__(self, width: int, hidden: int, out: int, dtype: str, *, rngs: nnx.Rngs) -> None:
        def kernel(rows: int, columns: int, gain: float) -> nnx.Param:
            return nnx.Param(jax.random.normal(rngs.params(), (rows, columns)) * (gain / rows) ** 0.5)

        self.first, self.first_bias = kernel(width, hidden, 2), nnx.Param(jnp.zeros(hidden))
        self.second, self.second_bias = kernel(hidden, hidden, 2), nnx.Param(jnp.zeros(hidden))
        self.third, self.third_bias = kernel(hidden, out, 1), nnx.Param(jnp.zeros(out))
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[B,E,D] -> f32[B,E,F]."""
        x = jax.nn.relu(dense(x, self.first[...], self.dtype) + self.first_bias[...][None, None])
        x = jax.nn.relu(dense(x, self.second[...], self.dtype) + self.second_bias[...][None, None])
        return dense(x, self.third[...], self.dtype) + self.third_bias[...][None, None]


class Retriever(nnx.Module):
    """A T5 whose decoder is fed one fixed prompt and whose hidden states become a vector among the items'.

    Args:
      t5: encoder and decoder.
      config: pooling and the projection's width.
      prompt: tokens the decoder is fed behind its start, i32[P-1]; P positions in all.
      items: the vectors that answers are searched among, f32[I,F]; kept at length 1, rows of zeros stay.
      rngs: its "params" stream initialises the projection.
    """

    def __init__(
        self, t5: T5, config: RetrievalConfig, prompt: np.ndarray, items: np.ndarray | jax.Array, *, rngs: nnx.Rngs
    ) -> None:
        self.t5 = t5
        self.config = config
        self.prompt = Buffer(jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.asarray(prompt, jnp.int32)]))
        self.items = Buffer(unit(jnp.asarray(items, jnp.float32)))
        width = t5.config.d_model * (len(self.prompt[...]) if config.pooling == "flatten" else 1)
        self.project = Projection(width, config.hidden, items.shape[1], t5.config.compute_dtype, rngs=rngs)

    def __call__(
        self, source: jax.Array, segments: jax.Array | None = None, slots: int = 1, *, key: jax.Array | None = None
    ) -> jax.Array:
        """The vector that each example asks for.

        Args:
          source: i32[B,S], padded with 0.
          segments: i32[B,S], the examples of a packed row as 1, 2, ..., 0 = padding; None: one example, source != 0.
          slots: E, how many examples a row may hold.
          key: for dropout, or None.
        Returns:
          z f32[B,E,F]; what stands in a slot without an example means nothing.
        """
        batch, count = source.shape[0], self.prompt[...].shape[0]
        segments = (source != 0).astype(jnp.int32) if segments is None else segments
        encoded = self.t5.encode(source, segments, key=None if key is None else stream(key, "encode"))
        inputs = jnp.broadcast_to(jnp.tile(self.prompt[...], slots)[None], (batch, slots * count))
        numbers = jnp.broadcast_to(jnp.repeat(jnp.arange(1, slots + 1), count)[None], inputs.shape)
        hidden = self.t5.decode(inputs, encoded, segments, numbers, key=None if key is None else stream(key, "decode"))
        hidden = hidden.reshape(batch, slots, count, -1)
        if self.config.pooling == "flatten":
            return self.project(hidden.reshape(batch, slots, -1))
        return self.project(hidden.mean(axis=2))


def unit(x: jax.Array) -> jax.Array:
    """Rows at length 1, f32[...,F]; rows of zeros stay, with finite gradients."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.where(square > 0, square, 1))
