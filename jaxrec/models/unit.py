"""Vectors scaled to length 1."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def unit(x: jax.Array) -> jax.Array:
    """Rows divided by their length, f32[...,F]; rows of zeros stay zeros and have finite gradients."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.where(square > 0, square, 1))
