"""The state of step-by-step decoding: keys and values of the prompt, shared by beams, and of each beam's tokens."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Memory:
    """Keys and values of the prompt by layer, shared by all beams of a row.

    Attributes:
      keys, values: for each decoder layer f32[B,h,S,K].
      mask: True = a token of the prompt, False = padding, bool[B,S].
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    mask: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Self-attention's keys and values of each beam's own tokens: for each decoder layer f32[B,W,h,length,K]."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


def empty_cache(batch: int, beams: int, heads: int, length: int, d_kv: int, layers: int) -> Cache:
    """A cache of zeros for `length` tokens of each beam."""
    empty = (jnp.zeros((batch, beams, heads, length, d_kv)),) * layers
    return Cache(empty, empty)


def reorder(cache: Cache, parents: jax.Array) -> Cache:
    """The cache after beams were chosen: new beam w continues old beam parents[b, w], i32[B,W'] in [0, W)."""
    return jax.tree.map(lambda x: jnp.take_along_axis(x, jnp.expand_dims(parents, range(2, x.ndim)), axis=1), cache)


def cache_end(cache: Cache, position: int | Array, count: int) -> int:
    """How many positions of the cache a step reads.

    Args:
      cache: of the tokens before the step.
      position: of the step's first token; a Python int or, inside a loop on the device, i32[].
      count: Q, how many tokens of each beam the step reads.
    Returns:
      position + count; where the position is on the device the whole length, which `causal` then masks.
    Raises:
      ValueError: the cache is too short. A position on the device cannot be checked.
    """
    length = cache.keys[0].shape[3]
    if isinstance(position, jax.Array):
        return length
    if position + count > length:
        raise ValueError(
            f"step to position {position + count} exceeds the cache's length {length}; ask empty_cache for more"
        )
    return position + count


def causal(position: int | Array, count: int, keys: int) -> Array:
    """Causal mask of queries at position, position + 1, ... and keys at 0, 1, ...: bool[Q,S], Q = count, S = keys."""
    return position + np.arange(count)[:, None] >= np.arange(keys)[None]


def update_cache(cached: jax.Array, new: jax.Array, position: int | Array) -> jax.Array:
    """One layer's keys or values f32[B,W,h,length,K] with those of new tokens, f32[B,W,h,Q,K], at `position`."""
    return jax.lax.dynamic_update_slice_in_dim(cached, new.astype(cached.dtype), position, axis=3)


def same_segment(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """True where query and key belong to the same example and not to padding: i32[B,Q], i32[B,S] -> bool[B,Q,S]."""
    return (queries[:, :, None] == keys[:, None, :]) & (keys[:, None, :] > 0)
