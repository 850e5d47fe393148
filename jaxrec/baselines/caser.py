"""Caser (Tang and Wang 2018): convolutions over the last few items, here with cross-entropy over all items."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import NextItem, SequenceConfig, embedding_table, linear, positions_in_segment
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.config.limits import Limits, Width
from jaxrec.models.dropout import Dropout
from jaxrec.models.products import dense
from jaxrec.types import Array


@dataclasses.dataclass(frozen=True)
class CaserConfig(SequenceConfig):
    """The paper's network; the paper's loss is binary with sampled negatives over the next few items."""

    window: Annotated[int, Limits(at_least=1, at_most=1000)] = 5
    """L: items in the window of a convolution."""
    horizontal: Width = 16
    """Number of filters of each height 1..L, over whole embeddings."""
    vertical: Width = 4
    """Number of filters over one feature of all L items."""


class Caser(NextItem):
    """Horizontal and vertical convolutions over a window of items, beside the user's embedding.

    Args:
      config: shape and training.
      n_items: I; the token of a user is I + 1 + user, and each sequence begins with one.
      n_users: U.
    """

    config: CaserConfig

    def __init__(self, config: CaserConfig, n_items: int, n_users: int, *, rngs: nnx.Rngs) -> None:
        dim, window, dtype = config.dim, config.window, config.compute_dtype
        self.config = config
        self.item_embedding = embedding_table(n_items, dim, rngs=rngs)
        self.user_embedding = embedding_table(n_users, dim, rngs=rngs)
        self.output_embedding = embedding_table(n_items, 2 * dim, rngs=rngs)
        self.filters = nnx.List(
            [linear(height * dim, config.horizontal, dtype, rngs=rngs) for height in range(1, window + 1)]
        )
        self.vertical = nnx.Param(jax.random.normal(rngs.params(), (window, config.vertical)) * window**-0.5)
        self.joined = linear(window * config.horizontal + config.vertical * dim, dim, dtype, rngs=rngs)

    @property
    def items(self) -> jax.Array:
        """W' of eq. 9: output weights of the items, f32[I, 2D]."""
        return self.output_embedding[...]

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`, f32[B, S, 2D]; a position sees its user and the last `window` items of its sequence."""
        drop = Dropout(self.config.dropout, key)
        tokens, n_items, dim = jnp.asarray(tokens), self.items.shape[0], self.config.dim
        place = positions_in_segment(segments)
        first = jnp.arange(tokens.shape[1])[None] - place
        user = jnp.take_along_axis(tokens, first, axis=1) - n_items - 1
        of_user = self.user_embedding[...][jnp.clip(user, 0, self.user_embedding.shape[0] - 1)]
        scaled = self.item_embedding[...][jnp.clip(tokens - 1, 0, n_items - 1)] * dim**0.5
        columns = []
        for back in reversed(range(self.config.window)):  # oldest first
            moved = jnp.pad(scaled, ((0, 0), (back, 0), (0, 0)))[:, : tokens.shape[1]]
            columns.append(jnp.where((place > back)[..., None], moved, 0))
        x = self.convolved(jnp.stack(columns, axis=2).reshape(-1, self.config.window, dim), drop)
        return jnp.concatenate([x.reshape(of_user.shape), of_user], axis=-1)

    def convolved(self, windows: jax.Array, drop: Dropout) -> jax.Array:
        """The vector z of eq. 8, f32[N, D], of windows f32[N, L, D], oldest first, zeros where there is no item."""
        n, length, dim = windows.shape
        features = []
        for height, layer in enumerate(self.filters, start=1):
            slices = [windows[:, i : i + height].reshape(n, height * dim) for i in range(length - height + 1)]
            features.append(jax.nn.relu(layer(jnp.stack(slices, axis=1), drop)).max(axis=1))
        by_feature = windows.transpose(0, 2, 1).reshape(n * dim, length)
        features.append(dense(by_feature, self.vertical[...], self.config.compute_dtype).reshape(n, -1))
        return jax.nn.relu(self.joined(drop(jnp.concatenate(features, axis=1)), drop))

    def answers(self, tokens: Array, users: Array) -> jax.Array:
        """The vector at the end of each history."""
        of_user = self.items.shape[0] + 1 + jnp.asarray(users)[:, None]
        tokens = jnp.concatenate([of_user, jnp.asarray(tokens)], axis=1)
        is_item = tokens > 0
        hidden = self(tokens, is_item.astype(jnp.int32))
        return jnp.take_along_axis(hidden, (is_item.sum(axis=1) - 1)[:, None, None], axis=1)[:, 0]


BASELINE = next_item_baseline("Caser", Caser, CaserConfig(), users=True)
