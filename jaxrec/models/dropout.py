"""Dropout from a counter and an integer hash: no generator state, no large threefry, fused into its neighbours."""

from __future__ import annotations

import copy
import functools
import math

import jax
import jax.numpy as jnp


class Dropout:
    """The dropout of one call of a model: each use takes the next site number, so no two share a mask.

    Made inside the traced function and dropped with it; it counts sites at trace time and holds no stream.

    Args:
      rate: the share of entries to drop, 0 <= rate < 1.
      key: a key of `jax.random.key`, or None for evaluation, where every use is the identity.
    Raises:
      ValueError: the rate is outside of [0, 1).
    """

    def __init__(self, rate: float, key: jax.Array | None) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"dropout={rate} is not a rate in [0, 1)")
        self.rate = rate
        self.seed = None if key is None or rate == 0 else jax.random.bits(key, (2,), jnp.uint32)
        self.sites: int | jax.Array = 0

    def at(self, sites: jax.Array) -> Dropout:
        """The same dropout after so many uses, i32[]: that of a layer whose number is known when it runs."""
        other = copy.copy(self)
        other.sites = sites
        return other

    def __call__(self, x: jax.Array) -> jax.Array:
        """The array with entries zeroed at the rate and the rest divided by 1 - rate, of the same shape and dtype."""
        seed = self.next_seed()
        return x if seed is None else _dropped(x, seed, self.rate)

    def next_seed(self) -> jax.Array | None:
        """The seed of the next site's mask, u32[2], see `keep_mask`; None for evaluation."""
        if self.seed is None:
            return None
        self.sites += 1
        return _mix(self.seed + jnp.asarray(self.sites).astype(jnp.uint32), self.seed[::-1])


def keep_mask(seed: jax.Array, shape: tuple[int, ...], rate: float) -> jax.Array:
    """True with probability 1 - rate, as a pure function of (seed, place in the array).

    So the mask does not depend on how the array is sharded, and the backward pass makes it again instead of storing it.

    Args:
      seed: u32[2].
      shape: of the mask; fewer than 2**32 entries.
      rate: 0 <= rate < 1, realised to within 2**-32.
    Returns:
      bool[shape].
    """
    count = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        # One iota per axis, not a flat one reshaped: the partitioner then gives each device its own part.
        stride = jnp.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        count = count + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return is_kept(count, seed[0], seed[1], rate)


def is_kept(place: jax.Array, word: jax.Array, other: jax.Array, rate: float) -> jax.Array:
    """Whether the entries at some places, u32[...], are kept: `keep_mask` for a part of an array.

    Args:
      place: number of each entry in the array, in the order of its axes.
      word: the seed's first number, u32[].
      other: the second.
      rate: see `keep_mask`.
    """
    return _mix(place ^ word, other) < jnp.uint32(min(round((1 - rate) * 2**32), 2**32 - 1))


def _mix(x: jax.Array, word: jax.Array) -> jax.Array:
    """A 32-bit avalanche hash, keyed half-way by `word`; constants from Wellons' hash-prospector.

    The second word makes two sites' masks different functions of the place; with one, they would be one mask permuted.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
    x = x ^ word
    x = (x ^ (x >> 15)) * jnp.uint32(0xD35A2D97)
    return x ^ (x >> 15)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dropped(x: jax.Array, seed: jax.Array, rate: float) -> jax.Array:
    return jnp.where(keep_mask(seed, x.shape, rate), x * (1 / (1 - rate)), 0)


def _dropped_forward(x: jax.Array, seed: jax.Array, rate: float) -> tuple[jax.Array, jax.Array]:
    return _dropped(x, seed, rate), seed


def _dropped_backward(rate: float, seed: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, None]:
    return _dropped(cotangent, seed, rate), None


_dropped.defvjp(_dropped_forward, _dropped_backward)
