"""FDSA (Zhang et al. 2019): self-attention over items beside self-attention over their attributes, here with
cross-entropy over all items.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import NextItem, linear
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.baselines.sasrec import SasRec, SasRecConfig
from jaxrec.config.limits import Limits
from jaxrec.keys import stream
from jaxrec.models.dropout import Dropout
from jaxrec.models.fused_attention import MASKED
from jaxrec.models.oov import Buffer
from jaxrec.types import Array, Attributes


@dataclasses.dataclass(frozen=True)
class FdsaConfig(SasRecConfig):
    """The paper's network of SASRec's blocks; the paper's loss has one negative per position."""

    values: Annotated[int, Limits(at_least=1, at_most=4096)] = 32
    """Maximum number of attribute values of an item that are read, the first ones."""


class Fdsa(NextItem):
    """Two SASRecs, one over the items of a history and one over their attributes, joined by a linear layer.

    Args:
      config: shape and training, of both.
      n_items: I.
      attributes: of the items.
    """

    config: FdsaConfig

    def __init__(self, config: FdsaConfig, n_items: int, attributes: Attributes, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.of_items = SasRec(config, n_items, rngs=rngs)
        self.of_values = SasRec(config, attributes.n_values, rngs=rngs)
        self.importance = linear(config.dim, config.dim, config.compute_dtype, rngs=rngs)
        self.joined = linear(2 * config.dim, config.dim, config.compute_dtype, rngs=rngs)
        self.values = Buffer(jnp.asarray(attributes.rows(config.values)))

    @property
    def items(self) -> jax.Array:
        """Item embeddings, also the output weights, f32[I, D]."""
        return self.of_items.items

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`; each position sees itself and earlier positions of its sequence."""
        of_items = self.of_items(tokens, segments, key=key)
        feature_key = None if key is None else stream(key, "features")
        of_values = self.of_values.encoded(self.features(tokens), segments, key=feature_key)
        return self.joined(jnp.concatenate([of_items, of_values], axis=-1), Dropout(0, None))

    def features(self, tokens: Array) -> jax.Array:
        """Vanilla attention over the attribute values of each item: softmax(W a + b) over its values, entry by entry.

        Args:
          tokens: item + 1, i32[B, S]; 0 = padding.
        Returns:
          f32[B, S, D], 0 for an item without attributes.
        """
        table = self.of_values.items
        # Of each value once. Scaled as in the blocks: embeddings are small at first, and all weights would be alike.
        importance = self.importance(table * self.config.dim**0.5, Dropout(0, None))
        values = self.values[...][jnp.maximum(tokens - 1, 0)]
        is_value = values[..., None] > 0
        rows = jnp.concatenate([importance, table], axis=-1)[jnp.maximum(values - 1, 0)]
        scores, vectors = jnp.split(rows, 2, axis=-1)
        weights = jax.nn.softmax(jnp.where(is_value, scores, MASKED), axis=-2)
        return jnp.where(is_value, weights * vectors, 0).sum(axis=-2)


BASELINE = next_item_baseline("FDSA", Fdsa, FdsaConfig(), attributes=True)
