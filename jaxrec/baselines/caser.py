"""Caser (Tang and Wang 2018): convolutions over the last few items, here with cross-entropy over all items."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import SequenceConfig, embedding_table, linear
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.baselines.user_window import UserWindow, newest
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


class Caser(UserWindow):
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
        of_user, of_item, place = self.embeddings(tokens, segments)
        windows = newest(of_item * self.config.dim**0.5, place, self.config.window)
        x = self.convolved(windows.reshape(-1, *windows.shape[2:]), drop)
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


BASELINE = next_item_baseline("Caser", Caser, CaserConfig(), users=True)
