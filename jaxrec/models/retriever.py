"""A language model that answers with a vector: start prompt, pooling, three-layer projection; TokenRec, eq. 17, 18."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import RetrievalConfig
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.lightgcn import Events
from jaxrec.models.oov import Buffer
from jaxrec.models.products import dense
from jaxrec.models.unit import unit

MULTIPLE = 128
LABELS = 2
"""Labels per example in a batch's target: the item's and the user's number."""


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
    """A language model whose hidden states at a fixed answer are projected to a vector in the space of the items.

    Args:
      backbone: an encoder-decoder, or a decoder-only model.
      config: pooling and the projection's width.
      prompt: tokens of the answer behind the model's start, i32[P-1]; P positions in all.
      items: vectors of the items that answers retrieve, f32[I,F]; stored as `place` returns them. Rows of zeros are
        added up to a multiple of 128, so that a mesh can divide them.
      users: vectors of the training users, f32[U,F], which the loss may align answers with.
      train_events: training events, for the losses: a user's training items are no negatives for that user.
      rngs: its "params" stream initialises the projection.
    """

    def __init__(
        self,
        backbone: LanguageModel,
        config: RetrievalConfig,
        prompt: np.ndarray,
        items: np.ndarray,
        users: np.ndarray,
        train_events: Events,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.backbone = backbone
        self.config = config
        self.prompt = Buffer(jnp.asarray([backbone.start, *prompt], jnp.int32))
        self.n_items = len(items)
        self.radius = Buffer(jnp.linalg.norm(jnp.asarray(items, jnp.float32), axis=1).max())
        placed = self.place(items)
        self.items = Buffer(jnp.pad(placed, ((0, -len(items) % MULTIPLE), (0, 0))))
        placed_users = jnp.pad(unit(jnp.asarray(users, jnp.float32)), ((0, 0), (0, placed.shape[1] - users.shape[1])))
        self.users = Buffer(placed_users)
        self.known = Buffer(jax.tree.map(jnp.asarray, train_events))
        self.most_known = int(np.asarray(train_events.degree).max(initial=1))
        width = backbone.config.d_model * (len(self.prompt[...]) if config.pooling == "flatten" else 1)
        self.project = Projection(width, config.hidden, placed.shape[1], backbone.config.compute_dtype, rngs=rngs)

    def place(self, items: np.ndarray | jax.Array) -> jax.Array:
        """Item vectors in the space in which answers are compared by cosine, f32[n,F] -> f32[n,F or F+1].

        Rows have length 1, or 0 where the item's vector is zeros. With "inner" similarity q becomes
        [q, sqrt(R^2 - |q|^2)] / R, R the length of the longest training vector (Bachrach et al. 2014): an answer [z, 0]
        then has the cosine <z, q> / (|z| R). Vectors of new items that are longer than R are shortened to it.
        """
        items = jnp.asarray(items, jnp.float32)
        if self.config.similarity == "cosine":
            return unit(items)
        square = jnp.sum(jnp.square(items), axis=1, keepdims=True)
        radius = self.radius[...]
        items = items * jnp.minimum(1, radius * jax.lax.rsqrt(jnp.maximum(square, 1e-30)))
        height = jnp.sqrt(jnp.maximum(radius**2 - jnp.sum(jnp.square(items), axis=1, keepdims=True), 0))
        return jnp.concatenate([items, jnp.where(square > 0, height, 0)], axis=1) / radius

    def __call__(
        self, source: jax.Array, segments: jax.Array | None = None, slots: int = 1, *, key: jax.Array | None = None
    ) -> jax.Array:
        """The answer to each example, a vector.

        Args:
          source: i32[B,S], padded with 0.
          segments: i32[B,S], the examples of a packed row as 1, 2, ..., 0 = padding; None: one example, source != 0.
          slots: E, how many examples a row may hold.
          key: for dropout, or None.
        Returns:
          z f32[B,E,F]; values in a slot without an example are arbitrary.
        """
        batch, count = source.shape[0], self.prompt[...].shape[0]
        segments = (source != 0).astype(jnp.int32) if segments is None else segments
        inputs = jnp.broadcast_to(jnp.tile(self.prompt[...], slots)[None], (batch, slots * count))
        numbers = jnp.broadcast_to(jnp.repeat(jnp.arange(1, slots + 1), count)[None], inputs.shape)
        hidden = self.backbone(source, segments, inputs, numbers, key=key)
        hidden = hidden.reshape(batch, slots, count, -1)
        if self.config.pooling == "flatten":
            return self.project(hidden.reshape(batch, slots, -1))
        return self.project(hidden.mean(axis=2))
