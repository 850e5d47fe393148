"""Diversity of ids: the mean divergence between the representations of two ids; META ID, section 4.

An id's representation is the mean of its tokens' embeddings, prefix included (eq. 2): one row f32[D] per entity.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.types import Array

PAIRS = 2048
"""Pairs per batch."""
STEPS = (1, 2, 5)
"""A convergence curve has points at these multiples of powers of ten."""


class Diversity(NamedTuple):
    """A diversity score from sampled pairs, and its convergence.

    Attributes:
      score: mean over all sampled pairs.
      error: its standard error.
      sizes: numbers of pairs at the points of the curve, i64[S]; the last is all.
      curve: the mean over the first pairs at each size, f64[S] (the paper's figure 5).
      errors: its standard error, f64[S].
    """

    score: float
    error: float
    sizes: np.ndarray
    curve: np.ndarray
    errors: np.ndarray


@functools.partial(jax.jit, static_argnames=("n", "count"))
def draw_pairs(n: int, count: int, *, key: jax.Array) -> jax.Array:
    """Uniformly drawn pairs of different numbers below n, i32[count,2]."""
    first_key, gap_key = jax.random.split(key)
    first = jax.random.randint(first_key, (count,), 0, n)
    gap = jax.random.randint(gap_key, (count,), 1, n)
    return jnp.stack([first, (first + gap) % n], axis=1)


@jax.jit
def divergences(representations: Array, pairs: Array) -> jax.Array:
    """(KL(i, j) + KL(j, i)) / 2 between the softmaxes of two representations; a term of META ID, eq. (3).

    The paper does not say how vectors become distributions; its code takes a softmax over the vector's entries. The sum
    of both directions is <p_i - p_j, log p_i - log p_j>, which is never negative.

    Args:
      representations: f32[n,D].
      pairs: i32[N,2], numbers below n.
    Returns:
      f32[N], in nats, at least 0.
    """
    logs = jax.nn.log_softmax(representations, axis=1)
    probabilities = jnp.exp(logs)

    def divergence(pair: jax.Array) -> jax.Array:
        i, j = pair
        return 0.5 * jnp.sum((probabilities[i] - probabilities[j]) * (logs[i] - logs[j]))

    return jnp.maximum(lax.map(divergence, pairs, batch_size=PAIRS), 0.0)


def diversity(representations: Array, *, pairs: int = 100_000, key: jax.Array) -> Diversity:
    """The mean divergence of sampled pairs; META ID, eq. (3) and appendix B.

    Args:
      representations: f32[n,D], n >= 2.
      pairs: number of pairs drawn with replacement, N >= 2.
      key: random key.
    Raises:
      ValueError: fewer than two representations or pairs.
    """
    if len(representations) < 2 or pairs < 2:
        raise ValueError(f"{len(representations)} ids and pairs={pairs}: at least two of each are needed")
    values = np.asarray(divergences(representations, draw_pairs(len(representations), pairs, key=key)), np.float64)
    powers = 10 ** np.arange(1, 1 + len(str(pairs)))
    sizes = np.append([s for s in np.outer(powers, STEPS).ravel() if s < pairs], pairs).astype(np.int64)
    curve = np.cumsum(values)[sizes - 1] / sizes
    # Relative to the final mean, as the small difference of two large sums would lose digits.
    squares = np.cumsum((values - values.mean()) ** 2)[sizes - 1] - sizes * (curve - values.mean()) ** 2
    errors = np.sqrt(np.maximum(squares, 0) / (sizes - 1) / sizes)
    return Diversity(float(curve[-1]), float(errors[-1]), sizes, curve, errors)


@jax.jit
def diversity_of_all(representations: Array) -> jax.Array:
    """Eq. (3) over every pair, in linear time; f32[].

    The mean over pairs of <p_i - p_j, l_i - l_j> is the covariance of probabilities and their logarithms, summed over
    the D entries, so no sampling is needed; the paper samples.
    """
    logs = jax.nn.log_softmax(representations, axis=1)
    probabilities = jnp.exp(logs)
    products = (probabilities - probabilities.mean(0, keepdims=True)) * (logs - logs.mean(0, keepdims=True))
    return products.sum() / (len(representations) - 1)
