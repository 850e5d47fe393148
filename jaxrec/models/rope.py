"""Rotary positions: pairs of a head's entries turned by angles that grow with the position; Su et al. 2021."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config import RopeConfig


def frequencies(rope: RopeConfig, width: int) -> tuple[np.ndarray, float]:
    """How fast each pair of entries turns, and the scale of its cosine and sine.

    "linear" slows all pairs down (Chen et al. 2023); "llama3" only those that turn less than `high` times over the
    length of pretraining (Dubey et al. 2024); "yarn" likewise, between `beta_slow` and `beta_fast` (Peng et al. 2023).

    Args:
      rope: the kind and its numbers.
      width: K, entries of a head, even.
    Returns:
      Radians per position, f32[K/2], and the scale (1 but for "yarn").
    Raises:
      ValueError: the width is odd, or the kind is not known.
    """
    if width % 2:
        raise ValueError(f"rotary positions turn pairs, and a head has {width} entries; d_kv must be even")
    turning = np.float32(1) / np.float32(rope.theta) ** (np.arange(0, width, 2, dtype=np.float32) / np.float32(width))
    if rope.kind == "default":
        return turning, 1.0
    if rope.kind == "linear":
        return (turning / np.float32(rope.factor)).astype(np.float32), 1.0
    if rope.kind == "llama3":
        turns = rope.original_length * turning / (2 * math.pi)
        kept = np.clip((turns - rope.low) / (rope.high - rope.low), 0, 1)
        return (turning * (kept + (1 - kept) / rope.factor)).astype(np.float32), 1.0
    if rope.kind == "yarn":
        kept = 1 - _ramp(rope, width)
        return (turning * (kept + (1 - kept) / rope.factor)).astype(np.float32), _attention_factor(rope)
    raise ValueError(f"rope kind {rope.kind!r} is not one of default, linear, llama3, yarn")


def _ramp(rope: RopeConfig, width: int) -> np.ndarray:
    """How much each pair is slowed down by "yarn": 0 for those that turn often, 1 for those that hardly turn."""

    def pair_that_turns(times: float) -> float:
        return width * math.log(rope.original_length / (times * 2 * math.pi)) / (2 * math.log(rope.theta))

    low = max(math.floor(pair_that_turns(rope.beta_fast)), 0)
    high = min(math.ceil(pair_that_turns(rope.beta_slow)), width - 1)
    return np.clip((np.arange(width // 2) - low) / max(high - low, 0.001), 0, 1)


def _attention_factor(rope: RopeConfig) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor
    return 0.1 * math.log(rope.factor) + 1 if rope.factor > 1 else 1.0


def rotations(positions: jax.Array, rope: RopeConfig, width: int) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of each position's angles: i32[B,S] -> twice f32[B,S,K/2]."""
    turning, scale = frequencies(rope, width)
    angles = positions[:, :, None].astype(jnp.float32) * jnp.asarray(turning)[None, None]
    return jnp.cos(angles) * scale, jnp.sin(angles) * scale


def rotate(x_BHSK: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turns entry i with entry i + K/2, as Hugging Face's LLaMA pairs them.

    Args:
      x_BHSK: queries or keys, [B,H,S,K].
      rotation: from `rotations`.
    Returns:
      [B,H,S,K] of the same dtype.
    """
    cosine, sine = (part[:, None] for part in rotation)
    first, second = jnp.split(x_BHSK, 2, axis=-1)
    rotated = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return rotated.astype(x_BHSK.dtype)
