"""Codebooks of learned quantizers: nearest codewords, initialisation, moving averages, revival of dead codewords."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.types import Array


class Use(NamedTuple):
    """Training statistics of every codeword.

    Attributes:
      last: i32[K, L], the step that chose it last, or brought it back.
      size: f32[K, L], moving average of the rows that chose it in a step.
      total: f32[K, L, d_c], moving average of those rows' sum.
    """

    last: Array
    size: Array
    total: Array


def fresh_use(codebook: Array) -> Use:
    """A `Use` before the first step: each codeword counts as one row at its own place."""
    return Use(jnp.zeros(codebook.shape[:2], jnp.int32), jnp.ones(codebook.shape[:2]), jnp.array(codebook))


def nearest(codebook: Array, encoded: Array) -> jax.Array:
    """The codeword nearest by Euclidean distance, the lowest of equals; TokenRec, eq. (5).

    Args:
      codebook: f32[K, L, d_c].
      encoded: f32[K, B, d_c].
    Returns:
      i32[K, B], below L.
    """
    codewords = codebook.shape[1]
    # |a|^2 is the same for every codeword. Two plain minima take a third of argmin's time on CPU.
    far = jnp.sum(codebook**2, -1)[:, None] - 2.0 * jnp.einsum("kbd,kld->kbl", encoded, codebook)
    place = jnp.where(far == far.min(-1, keepdims=True), jnp.arange(codewords)[None, None], codewords - 1)
    return place.min(-1).astype(jnp.int32)


def lookup(codebook: Array, codes: Array) -> jax.Array:
    """Codewords f32[K, B, d_c] of codes i32[K, B]; TokenRec, eq. (6)."""
    return jnp.take_along_axis(codebook, codes[..., None], axis=1)


def straight_through(encoded: Array, quantized: Array) -> jax.Array:
    """`quantized` in value, `encoded` in gradient (Bengio et al. 2013; TokenRec, section 2.3.5)."""
    return encoded + lax.stop_gradient(quantized - encoded)


def losses(encoded: Array, quantized: Array) -> tuple[jax.Array, jax.Array]:
    """Codebook loss, eq. (11), and commitment loss, eq. (12): sums over K of f32[K, B, d_c], means over B."""
    codebook = jnp.sum((lax.stop_gradient(encoded) - quantized) ** 2, (0, 2)).mean()
    commitment = jnp.sum((encoded - lax.stop_gradient(quantized)) ** 2, (0, 2)).mean()
    return codebook, commitment


@functools.partial(jax.jit, static_argnames=("codewords", "iterations"))
def kmeans(rows: Array, codewords: int, *, iterations: int = 10, key: jax.Array) -> jax.Array:
    """Where codebooks start: Lloyd's means from k-means++ seeds (Arthur and Vassilvitskii 2007), for each on its own.

    Args:
      rows: what each codebook has to quantize, f32[K, n, d_c].
      codewords: L. Where L exceeds n, rows are seeds more than once.
      iterations: updates of the means; a mean without members stays.
      key: random key.
    Returns:
      f32[K, L, d_c].
    """
    seeds = jax.vmap(functools.partial(_seeds, codewords=codewords))(rows, jax.random.split(key, len(rows)))

    def update(_: jax.Array, means: jax.Array) -> jax.Array:
        size, total = _members(nearest(means, rows), rows, codewords)
        return jnp.where(size[..., None] > 0, total / jnp.maximum(size, 1.0)[..., None], means)

    return lax.fori_loop(0, iterations, update, seeds)


def follow(codebook: Array, use: Use, encoded: Array, codes: Array, decay: float) -> tuple[jax.Array, Use]:
    """Moves codewords to the moving average of the rows that choose them; van den Oord et al. 2017, appendix A.1.

    Args:
      codebook: f32[K, L, d_c].
      use: the averages so far.
      encoded: a step's rows, f32[K, B, d_c].
      codes: their codewords, i32[K, B].
      decay: how much of the averages a step keeps, in (0, 1).
    """
    size, total = _members(codes, encoded, codebook.shape[1])
    size = decay * use.size + (1.0 - decay) * size
    total = decay * use.total + (1.0 - decay) * total
    # Averages of a codeword that nothing chooses vanish together; their quotient is trusted while it has digits.
    moved = jnp.where(size[..., None] > 1e-6, total / jnp.maximum(size, 1e-6)[..., None], codebook)
    return moved, Use(use.last, size, total)


def revive(
    codebook: Array, use: Use, encoded: Array, codes: Array, step: Array, patience: int
) -> tuple[jax.Array, Use, jax.Array]:
    """Moves codewords that no row chose for `patience` steps to rows of this step, one each while rows last.

    Args:
      codebook: f32[K, L, d_c].
      use: `last` is read and brought up to date.
      encoded: the step's rows in random order, f32[K, B, d_c].
      codes: their codewords, i32[K, B].
      step: number of the step, i32[].
      patience: steps.
    Returns:
      The codebook, what is remembered, and how many codewords came back, i32[].
    """
    chosen = jnp.zeros(use.last.shape, bool).at[jnp.arange(len(codes))[:, None], codes].set(True)
    last = jnp.where(chosen, step, use.last)
    dead = step - last >= patience
    row = (jnp.cumsum(dead, axis=1) - 1) % encoded.shape[1]
    fresh = lax.stop_gradient(jnp.take_along_axis(encoded, row[..., None], axis=1))
    codebook = jnp.where(dead[..., None], fresh, codebook)
    size = jnp.where(dead, 1.0, use.size)
    total = jnp.where(dead[..., None], fresh, use.total)
    return codebook, Use(jnp.where(dead, step, last), size, total), dead.sum()


def _seeds(rows: jax.Array, key: jax.Array, codewords: int) -> jax.Array:
    """Rows f32[L, d_c] of f32[n, d_c], each drawn by its squared distance from the nearest that was drawn before."""

    def distance(seed: jax.Array) -> jax.Array:
        return jnp.sum((rows - seed[None]) ** 2, -1)

    def add(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        seeds, nearest_one = state
        drawn = rows[jax.random.categorical(jax.random.fold_in(key, i), jnp.log(jnp.maximum(nearest_one, 1e-12)))]
        return seeds.at[i].set(drawn), jnp.minimum(nearest_one, distance(drawn))

    first = rows[jax.random.randint(key, (), 0, len(rows))]
    start = jnp.zeros((codewords, rows.shape[1])).at[0].set(first)
    return lax.fori_loop(1, codewords, add, (start, distance(first)))[0]


def _members(codes: Array, rows: Array, codewords: int) -> tuple[jax.Array, jax.Array]:
    """How many rows chose each codeword, f32[K, L], and their sum, f32[K, L, d_c]."""
    k = jnp.arange(len(codes))[:, None]
    size = jnp.zeros((len(codes), codewords)).at[k, codes].add(1.0)
    return size, jnp.zeros((len(codes), codewords, rows.shape[-1])).at[k, codes].add(rows)
