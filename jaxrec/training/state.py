"""The training state, and conversion of a Flax NNX module to pure functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

Tree = Any  # a pytree of arrays
LossAndMetrics = tuple[jax.Array, dict[str, jax.Array]]
Loss = Callable[[Any, Any, jax.Array | None], LossAndMetrics]
PureLoss = Callable[[Tree, Tree, Any, jax.Array | None], LossAndMetrics]


@dataclasses.dataclass(frozen=True)
class LossWithMemory:
    """A loss that brings its own gradients, made with a memory that every step renews; a pair of pure functions.

    The memory is part of the training state and of its checkpoints, but not of the parameters that are kept.

    Attributes:
      init: init(params, buffers) -> memory before the first step, a pytree of arrays.
      gradients: gradients(params, memory, buffers, batch, key) -> ((loss f32[], metrics), gradients like params,
        memory after the step, of the same shapes).
    """

    init: Callable[[Tree, Tree], Tree]
    gradients: Callable[[Tree, Tree, Tree, Any, jax.Array], tuple[LossAndMetrics, Tree, Tree]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step changes; a pytree, donated to the step.

    Attributes:
      step: i32[], number of finished steps.
      params: the trained parameters.
      opt_state: the optimizer's moments and counters.
      key: the training stream's key; step n uses fold_in(key, n).
      average: moving average of the parameters, or None.
      memory: of a `LossWithMemory`, or None.
    """

    step: jax.Array
    params: Tree
    opt_state: Tree
    key: jax.Array
    average: Tree | None = None
    memory: Tree | None = None

    @property
    def kept(self) -> Tree:
        """The parameters that are validated and kept: the average where there is one."""
        return self.params if self.average is None else self.average


def functional(model: nnx.Module, loss: Loss, trained: Any = nnx.Param) -> tuple[Tree, Tree, PureLoss]:
    """A module and its loss as parameters, buffers and a pure function of them.

    Args:
      model: what `trained` selects becomes the parameters, all else (anchors, a graph, frozen weights) a buffer.
      loss: loss(model, batch, key) -> (scalar, metrics); `key` None means evaluation.
      trained: a filter of nnx.
    Returns:
      params, buffers, loss_fn(params, buffers, batch, key) -> (scalar, metrics). The module is rebuilt inside
      `loss_fn`, which costs nothing once the caller has jitted it. `params` are the module's own arrays: a caller
      that donates them destroys the module, so `fit` copies first.
    """
    _, params, buffers = nnx.split(model, trained, ...)
    rebuild = rebuilder(model)

    def loss_fn(params: Tree, buffers: Tree, batch: Any, key: jax.Array | None):
        return loss(rebuild(params, buffers), batch, key)

    return params, buffers, loss_fn


def rebuilder(model: nnx.Module) -> Callable[[Tree, Tree], Any]:
    """The inverse of `functional`: rebuild(params, buffers) -> a module like `model` with those arrays."""
    graph = nnx.graphdef(model)
    return lambda params, buffers: nnx.merge(graph, params, buffers)
