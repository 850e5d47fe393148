"""Gradient checkpointing (Chen et al. 2016): the backward pass computes layers again instead of keeping them."""

from __future__ import annotations

from collections.abc import Callable

import jax


def apply_layer(remat: bool, layer: Callable[..., jax.Array], x: jax.Array, *args) -> jax.Array:
    """layer(x, *args); with `remat` checkpointed, so that only x is kept until the backward pass.

    Args:
      remat: whether the backward pass computes the layer again.
      layer: a pure function of arrays; it may use dropout, whose sites are counted once, when the layer is traced.
      x: the layer's input.
      args: what else it reads.
    """
    return jax.checkpoint(lambda x: layer(x, *args))(x) if remat else layer(x, *args)
