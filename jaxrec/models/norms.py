"""Root-mean-square normalisation, as T5 and the LLaMA family have it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.models.oov import weight


class RMSNorm(nnx.Module):
    """Division by the root mean square of the last axis, then a learned scale; no mean, no bias, computed in float32.

    Args:
      width: D.
      epsilon: added to the mean square.
      frozen: dtype of a frozen scale, or None: the scale is trained.
    """

    def __init__(self, width: int, epsilon: float, frozen: str | None = None) -> None:
        self.scale = weight(jnp.ones(width), frozen)
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        """[...,D] -> [...,D] of the same dtype."""
        wide = x.astype(jnp.float32)
        square = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
        scale = self.scale[...].astype(jnp.float32).reshape((1,) * (x.ndim - 1) + (-1,))
        return (wide * jax.lax.rsqrt(square + self.epsilon) * scale).astype(x.dtype)
