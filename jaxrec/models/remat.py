"""Gradient checkpointing (Chen et al. 2016): what a layer computes is computed again in the backward pass, not kept."""

from __future__ import annotations

from collections.abc import Callable

import jax


def run(remat: bool, layer: Callable[..., jax.Array], x: jax.Array, *args) -> jax.Array:
    """layer(x, *args), checkpointed where `remat` says so: then only x is kept of it until the backward pass.

    Args:
      remat: whether to compute the layer again.
      layer: a pure function of arrays; of dropout it may use sites, since it is traced once.
      x: what the layer reads and changes.
      args: what else it reads.
    """
    return jax.checkpoint(lambda x: layer(x, *args))(x) if remat else layer(x, *args)
