"""What step-by-step decoding keeps: the prompt's keys and values, shared by beams, and those of what each beam said."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Memory:
    """What decoding looks at of the prompt: keys and values of each layer, shared by all beams of a row.

    Attributes:
      keys, values: for each decoder layer f32[B,H,S,K], H heads of keys.
      mask: True = may be looked at, bool[B,S].
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    mask: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Self-attention's keys and values of what each beam has said: for each decoder layer f32[B,W,H,length,K]."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


def empty_cache(batch: int, beams: int, heads: int, length: int, d_kv: int, layers: int) -> Cache:
    """Room for `length` tokens of each beam."""
    empty = (jnp.zeros((batch, beams, heads, length, d_kv)),) * layers
    return Cache(empty, empty)


def reorder(cache: Cache, parents: jax.Array) -> Cache:
    """The cache after beams were chosen: new beam w continues old beam parents[b, w], i32[B,W'] in [0, W)."""
    return jax.tree.map(lambda x: jnp.take_along_axis(x, parents[:, :, None, None, None], axis=1), cache)


def reach(cache: Cache, position: int | Array, count: int) -> int:
    """How many positions of the cache a step looks at.

    Args:
      cache: what the step is handed.
      position: where its first token stands; a Python int, or i32[] on the device, as inside a loop.
      count: its tokens of each beam, Q.
    Returns:
      position + count, so that nothing beyond is read; on the device the whole length, which `causal` masks.
    Raises:
      ValueError: the cache is too short. A position on the device cannot be checked: the caller keeps to the length.
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
    """True where a key at 0, 1, ... is not after a query at position, position + 1, ...: bool[count,keys]."""
    return position + np.arange(count)[:, None] >= np.arange(keys)[None]


def write(cached: jax.Array, new: jax.Array, position: int | Array) -> jax.Array:
    """One layer's keys or values f32[B,W,H,length,K] with those of new tokens, f32[B,W,H,Q,K], at `position`."""
    return jax.lax.dynamic_update_slice_in_dim(cached, new.astype(cached.dtype), position, axis=3)


def same_segment(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """True where query and key are of one example and no padding: i32[B,Q], i32[B,S] -> bool[B,Q,S]."""
    return (queries[:, :, None] == keys[:, None, :]) & (keys[:, None, :] > 0)
