"""Scores of ids by what a model makes of their tokens: diversity and memorization; META ID, section 4.

An id's representation is the mean of its tokens' embeddings, prefix included (eq. 2): one row f32[D] an entity.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax

from jaxrec.types import Array, Histories

Sparse = Any  # a scipy.sparse.csr_array, of which type checkers know too little
BLOCK = 512
"""Rows of pairs at a time: bounds the memory to BLOCK * n similarities."""
STEPS = (1, 2, 5)
"""A convergence curve has points at these, times powers of ten."""


class Diversity(NamedTuple):
    """A diversity score from sampled pairs, and how it came about.

    Attributes:
      score: mean over all sampled pairs.
      error: its standard error.
      sizes: numbers of pairs after which it was looked at, i64[S]; the last is all.
      curve: the mean by then, f64[S] (the paper's figure 5).
      errors: and its standard error, f64[S].
    """

    score: float
    error: float
    sizes: np.ndarray
    curve: np.ndarray
    errors: np.ndarray


@functools.partial(jax.jit, static_argnames=("n", "count"))
def draw_pairs(n: int, count: int, *, key: jax.Array) -> jax.Array:
    """Pairs of different numbers below n, each pair as likely as any other; i32[count,2]."""
    first_key, gap_key = jax.random.split(key)
    first = jax.random.randint(first_key, (count,), 0, n)
    gap = jax.random.randint(gap_key, (count,), 1, n)
    return jnp.stack([first, (first + gap) % n], axis=1)


@jax.jit
def divergences(representations: Array, pairs: Array) -> jax.Array:
    """(KL(i, j) + KL(j, i)) / 2 between the softmaxes of two representations; a term of META ID, eq. (3).

    The paper takes the divergence of vectors without saying how they become distributions; its code takes a softmax
    over the vector's entries. The sum of both directions is <p_i - p_j, log p_i - log p_j>, which can't be negative.

    Args:
      representations: f32[n,D].
      pairs: i32[N,2], numbers below n.
    Returns:
      f32[N], in nats, at least 0.
    """
    logs = jax.nn.log_softmax(representations, axis=1)
    shares = jnp.exp(logs)

    def of(pair: jax.Array) -> jax.Array:
        i, j = pair
        return 0.5 * jnp.sum((shares[i] - shares[j]) * (logs[i] - logs[j]))

    return jnp.maximum(lax.map(of, pairs, batch_size=4 * BLOCK), 0.0)


def diversity(representations: Array, *, pairs: int = 100_000, key: jax.Array) -> Diversity:
    """The mean divergence of sampled pairs; META ID, eq. (3) and appendix B.

    Args:
      representations: f32[n,D], n >= 2.
      pairs: how many are drawn, with repetition, N >= 2.
      key: random key.
    Raises:
      ValueError: fewer than two representations or pairs.
    """
    if len(representations) < 2 or pairs < 2:
        raise ValueError(f"{len(representations)} ids and pairs={pairs}: two make a pair")
    values = np.asarray(divergences(representations, draw_pairs(len(representations), pairs, key=key)), np.float64)
    powers = 10 ** np.arange(1, 1 + len(str(pairs)))
    sizes = np.append([s for s in np.outer(powers, STEPS).ravel() if s < pairs], pairs).astype(np.int64)
    curve = np.cumsum(values)[sizes - 1] / sizes
    # Around the final mean, so that no small difference of large sums is taken.
    squares = np.cumsum((values - values.mean()) ** 2)[sizes - 1] - sizes * (curve - values.mean()) ** 2
    errors = np.sqrt(np.maximum(squares, 0) / (sizes - 1) / sizes)
    return Diversity(float(curve[-1]), float(errors[-1]), sizes, curve, errors)


@jax.jit
def diversity_of_all(representations: Array) -> jax.Array:
    """Eq. (3) over every pair, in linear time; f32[].

    A mean over pairs of products of differences is a covariance: with <p_i - p_j, l_i - l_j> the terms, it is that of
    shares and their logarithms, summed over the D entries. So nothing has to be sampled; the paper samples.
    """
    logs = jax.nn.log_softmax(representations, axis=1)
    shares = jnp.exp(logs)
    products = (shares - shares.mean(0, keepdims=True)) * (logs - logs.mean(0, keepdims=True))
    return products.sum() / (len(representations) - 1)


@dataclasses.dataclass(frozen=True)
class Truth:
    """How alike n entities are by their ratings: adjusted cosine similarity (Sarwar et al. 2001); META ID, eq. (4).

    Deviations may be a sparse matrix plus one row that all share, so that data without ratings stays sparse as well.

    Attributes:
      rows: which of the entities these are, i64[n]; the others have no deviation, hence no similarity to anybody.
      deviations: sparse f64[n,m].
      shared: f64[m], to be added to every row.
    """

    rows: np.ndarray
    deviations: Sparse
    shared: np.ndarray

    @classmethod
    def of(cls, histories: Histories, kind: Literal["item", "user"] = "item") -> Truth:
        """The truth about items, or about users with the roles in eq. (4) exchanged.

        A rating counts less the mean rating of its user (of its item, where users are compared), and 0 where there
        is none or it is held back (NaN); ratings of repeated events are averaged. Without ratings, R is 1 for an event
        and 0 otherwise, and the mean runs over the whole catalogue (over all users).

        Args:
          histories: what the ids were learned from; held-out events stay out.
          kind: who is compared.
        """
        shape = histories.n_users, histories.n_items
        told = slice(None) if histories.ratings is None else ~np.isnan(histories.ratings)
        at = histories.users[told], histories.items[told]
        counts: Sparse = scipy.sparse.csr_array((np.ones(len(at[0])), at), shape=shape)
        if histories.ratings is None:
            values: Sparse = scipy.sparse.csr_array((np.ones(counts.nnz), counts.indices, counts.indptr), shape=shape)
            values = values if kind == "user" else scipy.sparse.csr_array(values.T)
            return cls._known(values, -values.sum(axis=0) / max(values.shape[0], 1))
        values = scipy.sparse.csr_array((histories.ratings[told].astype(np.float64), at), shape=shape)
        assert (values.indices == counts.indices).all()  # both were summed by the same places
        values.data /= counts.data
        values = values if kind == "user" else scipy.sparse.csr_array(values.T)
        rated = np.bincount(values.indices, minlength=values.shape[1])
        means = values.sum(axis=0) / np.maximum(rated, 1)
        values.data -= means[values.indices]
        return cls._known(values, np.zeros(values.shape[1]))

    @classmethod
    def _known(cls, deviations: Sparse, shared: np.ndarray) -> Truth:
        whole = cls(np.arange(deviations.shape[0]), deviations, shared)
        known = np.flatnonzero(whole.squares > 1e-9)
        return cls(known, deviations[known], shared)

    @functools.cached_property
    def _shift(self) -> np.ndarray:
        """<deviations, shared> of each row, f64[n]."""
        return self.deviations @ self.shared

    @functools.cached_property
    def squares(self) -> np.ndarray:
        """Each row's sum of squared deviations over everybody, f64[n]; under the root of eq. (4)."""
        own = np.asarray(self.deviations.multiply(self.deviations).sum(axis=1))
        return own + 2 * self._shift + self.shared @ self.shared

    @property
    def of_raters(self) -> tuple[np.ndarray, np.ndarray]:
        """Dev and DevS, eq. (13): each row's sums of deviations and of their squares over those who rated, f64[n]."""
        told = scipy.sparse.csr_array(self.deviations, copy=True)
        told.data = told.data + self.shared[told.indices]
        return np.asarray(told.sum(axis=1)), np.asarray(told.multiply(told).sum(axis=1))

    def similarities(self, rows: slice = slice(None)) -> np.ndarray:
        """Eq. (4) between some of the n and all of them, f32[b,n], in [-1, 1]."""
        products = (self.deviations[rows] @ self.deviations.T).toarray()
        products += self._shift[rows, None] + self._shift[None] + self.shared @ self.shared
        lengths = np.sqrt(self.squares)
        return (products / (lengths[rows, None] * lengths[None])).astype(np.float32)


def memorization(representations: Array, truth: Truth) -> float:
    """1 - the mean squared difference between cosines and true similarities of all pairs; META ID, eq. (4) and (5).

    As printed, eq. (5) falls where ids remember more; the paper's code and figures have 1 minus it, as here.

    Args:
      representations: f32[*,D] of all entities, of which those in `truth.rows` count, at least two.
      truth: what the cosines are compared with.
    Returns:
      At most 1, which is perfect.
    """
    units = _units(representations, truth)
    n, total = len(units), 0.0
    for first in range(0, n, BLOCK):
        similar = truth.similarities(slice(first, first + BLOCK))
        similar = np.pad(similar, ((0, BLOCK - len(similar)), (0, 0)))
        total += float(_squared_difference(units, similar, first))
    return 1.0 - total / (n * (n - 1))


def fast_memorization(representations: Array, truth: Truth) -> float:
    """`memorization` with the similarity sim'(i, j) = a_i a_j, a = Dev / sqrt(DevS); META ID, eq. (11) to (13).

    The appendix calls sim' an approximation of eq. (4). It is one of a sum of products by the product of sums, equal
    where one rater is all there is, and not bounded: a_i is the square root of the number of raters where all rate
    i alike. So this number is comparable among ids of one data set, not with `memorization`.

    Being of rank one, it needs no pairs: the sum over them is taken of D x D products.
    """
    units = _units(representations, truth)
    sums, squares = truth.of_raters
    a = jnp.asarray(sums / np.sqrt(np.maximum(squares, 1e-9)), jnp.float32)
    return float(1.0 - _rank_one_difference(units, a) / (len(a) * (len(a) - 1)))


def _units(representations: Array, truth: Truth) -> jax.Array:
    """Rows of length 1 of the entities whose similarities are known."""
    if len(truth.rows) < 2:
        raise ValueError(f"{len(truth.rows)} entities have ratings that differ; similarities want two at least")
    rows = jnp.asarray(representations, jnp.float32)[truth.rows]
    length = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1.0)


@jax.jit
def _squared_difference(units: jax.Array, similar: Array, first: Array) -> jax.Array:
    """Of cosines and similarities f32[BLOCK,n] of the rows from `first` on with all; rows behind the last are zeros."""
    numbers = first + jnp.arange(BLOCK)
    mine = jnp.where((numbers < len(units))[:, None], units[jnp.minimum(numbers, len(units) - 1)], 0.0)
    cosines = jnp.matmul(mine, units.T, precision=lax.Precision.HIGHEST)
    itself = numbers[:, None] == jnp.arange(len(units))[None]
    return jnp.sum(jnp.where(itself, 0.0, (cosines - similar) ** 2))


@jax.jit
def _rank_one_difference(units: jax.Array, a: jax.Array) -> jax.Array:
    """Sum over pairs i != j of (<e_i, e_j> - a_i a_j)^2: |E'E|^2 - 2 |E'a|^2 + |a|^4, less the pairs i = i."""
    with jax.default_matmul_precision("highest"):
        whole = jnp.sum((units.T @ units) ** 2) - 2.0 * jnp.sum((units.T @ a) ** 2) + jnp.sum(a**2) ** 2
    return whole - jnp.sum((jnp.sum(units**2, axis=1) - a**2) ** 2)
