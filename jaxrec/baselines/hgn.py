"""HGN (Ma, Kang and Liu 2019): gates over the features and the items of a window, and an item-item product."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import SequenceConfig, embedding_table, linear, pairwise_loss, softmax_loss
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.baselines.user_window import UserWindow, newest
from jaxrec.config.limits import Limits
from jaxrec.keys import stream
from jaxrec.models.dropout import Dropout
from jaxrec.models.products import projected
from jaxrec.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class HgnConfig(SequenceConfig):
    """The paper's network, with dropout of the embeddings, and cross-entropy over all items instead of its loss."""

    loss: Literal["softmax", "bpr"] = "softmax"
    """`bpr` is the paper's, each of the next `targets` items above one drawn at random; `softmax` is cross-entropy of
    the next item over all items."""
    window: Annotated[int, Limits(at_least=1, at_most=1000)] = 5
    """L: items in a window."""
    targets: Annotated[int, Limits(at_least=1, at_most=1000)] = 3
    """T: how many of the next items are targets of a window, with the loss `bpr`."""
    pooling: Literal["mean", "max"] = "mean"
    """How the gated items of a window become one vector."""


class Hgn(UserWindow):
    """Gates over a window of items, beside the user's embedding and the items themselves.

    Args:
      config: shape and training.
      n_items: I; the token of a user is I + 1 + user, and each sequence begins with one.
      n_users: U.
    """

    config: HgnConfig

    def __init__(self, config: HgnConfig, n_items: int, n_users: int, *, rngs: nnx.Rngs) -> None:
        dim, dtype = config.dim, config.compute_dtype
        self.config = config
        self.item_embedding = embedding_table(n_items, dim, rngs=rngs)
        self.user_embedding = embedding_table(n_users, dim, rngs=rngs)
        self.output_embedding = embedding_table(n_items, dim, rngs=rngs)
        self.feature_by_item = linear(dim, dim, dtype, rngs=rngs)
        self.feature_by_user = linear(dim, dim, dtype, rngs=rngs)
        self.instance_by_item = nnx.Param(jax.random.normal(rngs.params(), (dim, 1)) * dim**-0.5)
        self.instance_by_user = nnx.Param(jax.random.normal(rngs.params(), (dim, config.window)) * dim**-0.5)

    @property
    def items(self) -> jax.Array:
        """W, embeddings of the items as targets, f32[I, D]."""
        return self.output_embedding[...]

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`; a position sees its user and the last `window` items of its sequence.

        The paper's score is u w + s w + sum_l e_l w, with the user u, the gated window s and its items e_l, so the
        vector is u + s + sum_l e_l. A window with fewer than L items has no gates for those that it lacks.
        """
        drop, dtype = Dropout(self.config.dropout, key), self.config.compute_dtype
        of_user, of_item, place = self.embeddings(tokens, segments)
        of_user, of_item = drop(of_user), drop(of_item)
        # Feature gate: the same in all windows that hold the item.
        gate = jax.nn.sigmoid(self.feature_by_item(of_item, drop) + self.feature_by_user(of_user, drop))
        gated = of_item * gate
        # Instance gate: of each item and place in the window.
        by_item = newest(projected(gated, self.instance_by_item[...], dtype), place, self.config.window)[..., 0]
        weights = jax.nn.sigmoid(by_item + projected(of_user, self.instance_by_user[...], dtype))
        is_item = place[..., None] > jnp.arange(self.config.window)[None, None, ::-1]
        weights = jnp.where(is_item, weights, 0)
        window = newest(gated, place, self.config.window) * weights[..., None]
        if self.config.pooling == "mean":
            pooled = window.sum(axis=2) / jnp.where(is_item[..., -1:], weights.sum(axis=2, keepdims=True), 1)
        else:
            pooled = jnp.where(is_item[..., None], window, -jnp.inf).max(axis=2, initial=-jnp.inf)
            pooled = jnp.where(is_item[..., -1:], pooled, 0)
        return of_user + pooled + newest(of_item, place, self.config.window).sum(axis=2)


def hgn_loss(model: Hgn, batch: Batch, key: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss that the model's settings name.

    Args:
      model: the model.
      batch: source holds the sequences, each behind its user, target the next item at the same positions.
      key: of dropout and drawn items; None uses no dropout.
    Returns:
      The loss, f32[], and no further metrics.
    """
    hidden = model(batch.source, batch.source_segments, key=key)
    if model.config.loss == "softmax":
        return softmax_loss(model, hidden, batch), {}
    negatives = None if key is None else stream(key, "negatives")
    return pairwise_loss(model, hidden, batch, negatives, ahead=model.config.targets), {}


BASELINE = next_item_baseline("HGN", Hgn, HgnConfig(), loss=hgn_loss, users=True)
