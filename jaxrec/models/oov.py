"""The embedding table with new tokens, and the linear projection of their anchors; META ID, eq. 8."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import OovConfig
from jaxrec.models.products import dense


class Buffer(nnx.Variable):
    """A constant array of a model, not trained."""


class Frozen(Buffer):
    """A frozen weight: with LoRA, all weights of the base model."""


def weight(value: jax.Array, frozen: str | None) -> nnx.Param | Frozen:
    """A weight: trained where `frozen` is None, otherwise kept in that dtype."""
    return nnx.Param(value) if frozen is None else Frozen(value.astype(frozen))


class ExtendedEmbedding(nnx.Module):
    """A table of V rows, to which new tokens add a projection of their anchor: E'(t) = E(t) + alpha * F(anchor_t).

    META ID, eq. 8: F is linear and is initialised from the cluster centroids that the anchors are. Here that means a
    semi-orthogonal kernel (where F <= D it keeps every angle and ratio of lengths between centroids), scaled so that
    projected anchors have the root mean square of the table; alpha then is the addition's size next to an embedding.
    F has no bias, so tokens whose anchor is all zeros (fine tokens, prefixes) receive nothing.

    A frozen table leaves new tokens trainable: they have rows of their own, and what the table holds for them is not
    read.

    Args:
      vocab, d_model: the table's shape [V, D].
      config: where the projection applies, and alpha.
      anchors: f32[M,F], the anchor of token first_oov + m in row m, or None for none at all.
      first_oov: number of the first new token.
      dtype: of the products' operands.
      scale: entries start normal with this deviation; T5's is 1.
      frozen: dtype of a frozen table, or None: the table is trained.
    Raises:
      ValueError: the anchors do not fit into the vocabulary.
    """

    def __init__(
        self,
        vocab: int,
        d_model: int,
        config: OovConfig,
        anchors: np.ndarray | jax.Array | None,
        first_oov: int,
        dtype: str,
        *,
        scale: float = 1.0,
        frozen: str | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        table = jax.random.normal(rngs.params(), (vocab, d_model)) * scale
        self.table = weight(table, frozen)
        self.has_rows = frozen is not None and first_oov < vocab
        if self.has_rows:
            self.rows = nnx.Param(table[first_oov:])
        self.scope = "none" if anchors is None else config.scope
        self.alpha = config.alpha
        self.first_oov = first_oov
        self.dtype = dtype
        if anchors is None or self.scope == "none":
            return
        if anchors.ndim != 2 or not 0 <= first_oov <= vocab - len(anchors):
            raise ValueError(
                f"anchors {anchors.shape} with first_oov={first_oov} do not fit a vocabulary of {vocab}; "
                "anchors are [M, F] and first_oov + M is at most V"
            )
        self.anchors = Buffer(jnp.asarray(anchors, jnp.float32))
        orthogonal = jax.nn.initializers.orthogonal()
        self.kernel = nnx.Param(orthogonal(rngs.params(), (anchors.shape[1], d_model), jnp.float32))
        self.rescale()

    def rescale(self) -> None:
        """Scales F to give projected anchors the root mean square of the table; call it again after loading weights."""
        if self.scope == "none":
            return
        anchors, table = self.anchors[...], self.whole()
        used = jnp.any(anchors != 0, axis=1).sum()
        square = jnp.sum(jnp.square(anchors @ self.kernel[...])) / (jnp.maximum(used, 1) * table.shape[1])
        scale = jnp.sqrt(jnp.mean(jnp.square(table)) / jnp.where(square > 0, square, 1))
        self.kernel[...] = self.kernel[...] * scale

    def whole(self) -> jax.Array:
        """The table with new tokens' rows and without their projection, f32[V,D]."""
        table = self.table[...].astype(jnp.float32)
        return table.at[self.first_oov :].set(self.rows[...]) if self.has_rows else table

    def __call__(self, tokens: jax.Array, *, encoder: bool) -> jax.Array:
        """Embeddings of tokens, i32[B,S] -> f32[B,S,D]; `encoder` says which side's input this is."""
        embedded = self.table[...][tokens].astype(jnp.float32)
        if self.has_rows:
            # Text tokens are spread over all rows: their zero gradients would all contend for a single row.
            rows = self.rows[...]
            own = rows[(tokens - self.first_oov) % rows.shape[0]]
            embedded = jnp.where((tokens >= self.first_oov)[..., None], own, embedded)
        if self.scope == "none" or (self.scope == "encoder" and not encoder):
            return embedded
        # Gathering the narrow anchors costs less than projecting them all, and leaves no scatter to the backward pass.
        anchors = self.anchors[...]
        row = tokens - self.first_oov
        has_anchor = (row >= 0) & (row < anchors.shape[0])
        near = jnp.where(has_anchor[..., None], anchors[jnp.where(has_anchor, row, 0)], 0)
        return embedded + self.alpha * dense(near, self.kernel[...], self.dtype)

    def scores(self, hidden: jax.Array) -> jax.Array:
        """The tied head, hidden @ E'.T: f32[...,D] -> f32[...,V]."""
        scores = dense(hidden, self.table[...].astype(jnp.float32).T, self.dtype)
        if self.has_rows:
            own = self._from_first_oov(dense(hidden, self.rows[...].T, self.dtype), scores.shape[-1])
            is_new = np.arange(scores.shape[-1]) >= self.first_oov
            scores = jnp.where(is_new.reshape((1,) * (scores.ndim - 1) + (-1,)), own, scores)
        if self.scope != "shared":
            return scores
        narrow = dense(hidden, self.kernel[...].T, self.dtype)
        added = self.alpha * dense(narrow, self.anchors[...].T, self.dtype)
        return scores + self._from_first_oov(added, scores.shape[-1])

    def _from_first_oov(self, scores: jax.Array, vocab: int) -> jax.Array:
        """Scores of the tokens first_oov, first_oov + 1, ... among zeros for all others, f32[...,V]."""
        after = vocab - self.first_oov - scores.shape[-1]
        return jnp.pad(scores, ((0, 0),) * (scores.ndim - 1) + ((self.first_oov, after),))
