"""Memorization of ids: how well cosines between ids match rating similarities; META ID, section 4.

An id's representation is the mean of its tokens' embeddings, prefix included (eq. 2): one row f32[D] per entity.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax

from jaxrec.types import Array, Histories

Sparse = Any  # a scipy.sparse.csr_array, of which type checkers know too little
BLOCK = 512
"""Rows per block, which bounds the memory to BLOCK * n similarities."""


@dataclasses.dataclass(frozen=True)
class RatingSimilarity:
    """Similarity of n entities by ratings: adjusted cosine similarity (Sarwar et al. 2001); META ID, eq. (4).

    Deviations are a sparse matrix plus one row shared by all, so that data without ratings stays sparse too.

    Attributes:
      rows: the n entities with a nonzero deviation, i64[n]; for the others no similarity is defined.
      deviations: sparse f64[n,m].
      shared: f64[m], added to every row.
    """

    rows: np.ndarray
    deviations: Sparse
    shared: np.ndarray

    @classmethod
    def of(cls, histories: Histories, kind: Literal["item", "user"] = "item") -> RatingSimilarity:
        """The similarity of items, or of users with the roles in eq. (4) exchanged.

        A rating's deviation is its difference to the mean rating of its user (of its item if users are compared), and 0
        without a rating or if it is withheld (NaN); ratings of repeated events are averaged. Without ratings, R is 1
        for an event and 0 otherwise, and the mean is over all items (over all users).

        Args:
          histories: the events from which the ids were learned, without held-out ones.
          kind: whether items or users are compared.
        """
        shape = histories.n_users, histories.n_items
        rated = slice(None) if histories.ratings is None else ~np.isnan(histories.ratings)
        places = histories.users[rated], histories.items[rated]
        counts: Sparse = scipy.sparse.csr_array((np.ones(len(places[0])), places), shape=shape)
        if histories.ratings is None:
            values: Sparse = scipy.sparse.csr_array((np.ones(counts.nnz), counts.indices, counts.indptr), shape=shape)
            values = values if kind == "user" else scipy.sparse.csr_array(values.T)
            return cls._where_rated(values, -values.sum(axis=0) / max(values.shape[0], 1))
        values = scipy.sparse.csr_array((histories.ratings[rated].astype(np.float64), places), shape=shape)
        assert (values.indices == counts.indices).all()  # both sum duplicates at the same positions
        values.data /= counts.data
        values = values if kind == "user" else scipy.sparse.csr_array(values.T)
        counts = np.bincount(values.indices, minlength=values.shape[1])
        means = values.sum(axis=0) / np.maximum(counts, 1)
        values.data -= means[values.indices]
        return cls._where_rated(values, np.zeros(values.shape[1]))

    @classmethod
    def _where_rated(cls, deviations: Sparse, shared: np.ndarray) -> RatingSimilarity:
        whole = cls(np.arange(deviations.shape[0]), deviations, shared)
        rows = np.flatnonzero(whole.squares > 1e-9)
        return cls(rows, deviations[rows], shared)

    @functools.cached_property
    def _shift(self) -> np.ndarray:
        """<deviations, shared> of each row, f64[n]."""
        return self.deviations @ self.shared

    @functools.cached_property
    def squares(self) -> np.ndarray:
        """Each row's sum of squared deviations, f64[n]; under the root of eq. (4)."""
        own = np.asarray(self.deviations.multiply(self.deviations).sum(axis=1))
        return own + 2 * self._shift + self.shared @ self.shared

    @property
    def of_raters(self) -> tuple[np.ndarray, np.ndarray]:
        """Dev and DevS, eq. (13): each row's sums of deviations and of their squares over those who rated, f64[n]."""
        deviations = scipy.sparse.csr_array(self.deviations, copy=True)
        deviations.data = deviations.data + self.shared[deviations.indices]
        return np.asarray(deviations.sum(axis=1)), np.asarray(deviations.multiply(deviations).sum(axis=1))

    def between(self, rows: slice = slice(None)) -> np.ndarray:
        """Eq. (4) between some of the n entities and all of them, f32[b,n], in [-1, 1]."""
        products = (self.deviations[rows] @ self.deviations.T).toarray()
        products += self._shift[rows, None] + self._shift[None] + self.shared @ self.shared
        lengths = np.sqrt(self.squares)
        return (products / (lengths[rows, None] * lengths[None])).astype(np.float32)


def memorization(representations: Array, similarity: RatingSimilarity) -> float:
    """1 - the mean squared difference between cosines and true similarities of all pairs; META ID, eq. (4) and (5).

    As printed, eq. (5) decreases with memorization; the paper's code and figures use 1 minus it, as here.

    Args:
      representations: f32[*,D] of all entities, of which those in `similarity.rows` are used, at least two.
      similarity: the similarity that the cosines are compared with.
    Returns:
      At most 1, which is perfect.
    """
    units = _units(representations, similarity)
    n, total = len(units), 0.0
    for first in range(0, n, BLOCK):
        similar = similarity.between(slice(first, first + BLOCK))
        similar = np.pad(similar, ((0, BLOCK - len(similar)), (0, 0)))
        total += float(_squared_difference(units, similar, first))
    return 1.0 - total / (n * (n - 1))


def fast_memorization(representations: Array, similarity: RatingSimilarity) -> float:
    """`memorization` with the similarity sim'(i, j) = a_i a_j, a = Dev / sqrt(DevS); META ID, eq. (11) to (13).

    The appendix calls sim' an approximation of eq. (4). It replaces a sum of products by the product of sums, which is
    exact for a single rater, and it is not bounded: if all raters rate i alike, a_i is the square root of their number.
    So this score is comparable between ids of one data set, but not with `memorization`.

    As sim' has rank one, the sum over pairs is computed from D x D products, without a loop over pairs.
    """
    units = _units(representations, similarity)
    sums, squares = similarity.of_raters
    a = jnp.asarray(sums / np.sqrt(np.maximum(squares, 1e-9)), jnp.float32)
    return float(1.0 - _rank_one_difference(units, a) / (len(a) * (len(a) - 1)))


def _units(representations: Array, similarity: RatingSimilarity) -> jax.Array:
    """Representations of the entities in `similarity.rows`, scaled to length 1."""
    if len(similarity.rows) < 2:
        raise ValueError(f"{len(similarity.rows)} entities have ratings that differ; similarities need at least two")
    rows = jnp.asarray(representations, jnp.float32)[similarity.rows]
    length = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1.0)


@jax.jit
def _squared_difference(units: jax.Array, similar: Array, first: Array) -> jax.Array:
    """Sum of squared differences of cosines and similarities f32[BLOCK,n] of a block of rows, zero beyond the last."""
    numbers = first + jnp.arange(BLOCK)
    rows = jnp.where((numbers < len(units))[:, None], units[jnp.minimum(numbers, len(units) - 1)], 0.0)
    cosines = jnp.matmul(rows, units.T, precision=lax.Precision.HIGHEST)
    itself = numbers[:, None] == jnp.arange(len(units))[None]
    return jnp.sum(jnp.where(itself, 0.0, (cosines - similar) ** 2))


@jax.jit
def _rank_one_difference(units: jax.Array, a: jax.Array) -> jax.Array:
    """Sum over pairs i != j of (<e_i, e_j> - a_i a_j)^2: |E'E|^2 - 2 |E'a|^2 + |a|^4, minus the pairs i = j."""
    with jax.default_matmul_precision("highest"):
        total = jnp.sum((units.T @ units) ** 2) - 2.0 * jnp.sum((units.T @ a) ** 2) + jnp.sum(a**2) ** 2
    return total - jnp.sum((jnp.sum(units**2, axis=1) - a**2) ** 2)
