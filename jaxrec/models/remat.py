"""Gradient checkpointing (Chen et al. 2016): the backward pass computes layers again instead of keeping them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.models.dropout import Dropout

SCANNED = 4
"""From so many checkpointed layers on they are scanned: a compiler then sees one of them."""


def apply_layer(remat: bool, layer: Callable[..., jax.Array], x: jax.Array, *args) -> jax.Array:
    """layer(x, *args); with `remat` checkpointed, so that only x is kept until the backward pass.

    Args:
      remat: whether the backward pass computes the layer again.
      layer: a pure function of arrays; it may use dropout, whose sites are counted once, when the layer is traced.
      x: the layer's input.
      args: what else it reads.
    """
    return jax.checkpoint(lambda x: layer(x, *args))(x) if remat else layer(x, *args)


def apply_layers(
    layers: Sequence[nnx.Module],
    call: Callable[[Any, jax.Array, Dropout], jax.Array],
    x: jax.Array,
    drop: Dropout,
    *,
    remat: bool,
) -> jax.Array:
    """The last layer's output; each reads the one before, x = call(layer, x, drop), and is checkpointed with `remat`.

    `SCANNED` checkpointed layers and more are stacked and scanned, with the same values and the same dropout: the
    program is as long as that of one layer, and layers can't share memory that they need at different times. Others are
    not, because a scan would keep all that a layer computes, where a compiler that sees all of them computes some of
    it again. The parameters stay those of single layers: stacking them is part of the program.

    Args:
      layers: modules of one kind and shape.
      call: a pure function of arrays; it uses `drop` equally often in every layer.
      x: the first layer's input, [B,S,D]; every layer's output has its shape and dtype.
      drop: of the whole stack; its sites are counted on.
      remat: as in `apply_layer`.
    """
    if not remat or len(layers) < SCANNED:
        for layer in layers:
            x = apply_layer(remat, lambda x, layer=layer: call(layer, x, drop), x)
        return x
    graph, *_ = nnx.split(layers[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(nnx.split(layer)[1] for layer in layers))
    first = drop.sites
    jax.eval_shape(lambda x: call(layers[0], x, drop), x)  # counts the sites of a layer
    each = drop.sites - first

    def step(x: jax.Array, numbered: tuple[jax.Array, Any]) -> tuple[jax.Array, None]:
        number, state = numbered
        drop_here = drop.at(first + number * each)
        return apply_layer(True, lambda x: call(nnx.merge(graph, state), x, drop_here), x), None

    x, _ = jax.lax.scan(step, x, (jnp.arange(len(layers)), stacked))
    drop.sites = first + len(layers) * each
    return x
