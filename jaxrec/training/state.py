"""What training carries from step to step, and how a Flax NNX module becomes pure functions of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

Tree = Any  # a pytree of arrays
Loss = Callable[[Any, Any, jax.Array | None], tuple[jax.Array, dict[str, jax.Array]]]
PureLoss = Callable[[Tree, Tree, Any, jax.Array | None], tuple[jax.Array, dict[str, jax.Array]]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a step changes; a pytree, donated to the step.

    Attributes:
      step: i32[], steps done.
      params: what the optimizer changes.
      opt_state: the optimizer's moments and counters.
      key: the training stream's key; step n uses fold_in(key, n).
    """

    step: jax.Array
    params: Tree
    opt_state: Tree
    key: jax.Array


def functional(model: nnx.Module, loss: Loss) -> tuple[Tree, Tree, PureLoss]:
    """A module and its loss as parameters, buffers and a pure function of them.

    Args:
      model: its `nnx.Param` become the parameters, every other variable (anchors, a graph, frozen weights) a buffer.
      loss: loss(model, batch, key) -> (scalar, metrics); `key` None means evaluation.
    Returns:
      params, buffers, loss_fn(params, buffers, batch, key) -> (scalar, metrics). The module is rebuilt inside
      `loss_fn`, which costs nothing once the caller has jitted it. `params` are the module's own arrays: a caller
      that donates them destroys the module, so `fit` copies first.
    """
    _, params, buffers = nnx.split(model, nnx.Param, ...)
    rebuild = rebuilder(model)

    def loss_fn(params: Tree, buffers: Tree, batch: Any, key: jax.Array | None):
        return loss(rebuild(params, buffers), batch, key)

    return params, buffers, loss_fn


def rebuilder(model: nnx.Module) -> Callable[[Tree, Tree], Any]:
    """The way back from `functional`: rebuild(params, buffers) -> a module like `model` that holds those arrays."""
    graph = nnx.graphdef(model)
    return lambda params, buffers: nnx.merge(graph, params, buffers)
