"""LTGNN: the fixed point of personalised propagation, trained by one layer a step over drawn neighbours."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.models import lightgcn
from jaxrec.models.lightgcn import Events
from jaxrec.models.neighbours import Neighbours, draw_neighbours, estimated_product
from jaxrec.models.sparse import Adjacency, product
from jaxrec.types import Array

TOLERANCE = 1e-4
"""Of the fixed point: (1 - alpha)^K of the first error is left after K layers, because no eigenvalue is above 1."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Memory:
    """What steps remember for those to come, f32[R, F] each but the counter.

    Attributes:
      step: i32[], number of finished steps.
      output: of every node, when it was last in a batch.
      gradient: of the loss by the layer-0 vector of every node, when it was last in a batch.
      snapshot: the outputs of some steps ago.
      aggregate: the exact normalised sums over neighbours of the snapshot.
    """

    step: jax.Array
    output: jax.Array
    gradient: jax.Array
    snapshot: jax.Array
    aggregate: jax.Array


def fixed_point(nodes: jax.Array, graph: Adjacency, alpha: float) -> jax.Array:
    """The solution of Z = (1 - alpha) S Z + alpha E, by as many layers as leave 1e-4 of the first error.

    Zhang et al. 2024, section 3.1; PPNP (Klicpera et al. 2019), eq. 3.

    Args:
      nodes: layer 0, E, f32[R, F], in the rows of `graph`.
      graph: S.
      alpha: in (0, 1].
    Returns:
      f32[R, F].
    """
    layers = 0 if alpha == 1 else math.ceil(math.log(TOLERANCE) / math.log1p(-alpha))
    return lax.fori_loop(0, layers, lambda _, z: (1 - alpha) * product(graph, z) + alpha * nodes, nodes)


def start(nodes: jax.Array, graph: Adjacency, alpha: float) -> Memory:
    """Memory before the first step: the fixed point of the initial table f32[R, F], and gradients of 0."""
    output = fixed_point(nodes, graph, alpha)
    return Memory(jnp.int32(0), output, jnp.zeros_like(output), output, product(graph, output))


def refreshed(memory: Memory, graph: Adjacency, every: int) -> Memory:
    """The memory with a new snapshot at every `every`-th step."""

    def refresh() -> tuple[jax.Array, jax.Array]:
        return memory.output, product(graph, memory.output)

    due = (memory.step > 0) & (memory.step % every == 0)
    snapshot, aggregate = lax.cond(due, refresh, lambda: (memory.snapshot, memory.aggregate))
    return dataclasses.replace(memory, snapshot=snapshot, aggregate=aggregate)


def gradients(
    nodes: jax.Array,
    memory: Memory,
    graph: Adjacency,
    lists: Neighbours,
    train_events: Events,
    batch: Array,
    *,
    alpha: float,
    most: int,
    every: int,
    regularization: float,
    key: jax.Array,
) -> tuple[tuple[jax.Array, dict[str, jax.Array]], jax.Array, Memory]:
    """BPR of a batch of events, its gradient by layer 0, and the memory after it (Zhang et al. 2024, section 3).

    For the nodes t of the batch (users, positives and negatives, each once), with S^ the sum over drawn neighbours:

        output[t]   <- (1 - alpha) (S^ (output - snapshot) + S snapshot)[t] + alpha E[t]
        gradient[t] <- (1 - alpha) (S^ gradient)[t] + alpha dL/doutput[t]

    one step of the iteration for the fixed point, and one of that for its implicit derivative, from what steps before
    left. Nodes that are not in the batch keep both, and their layer-0 vectors have no gradient. The loss is that of
    `jaxrec.models.lightgcn.loss` for these outputs.

    Gradients have no snapshot, as in the released code. Outputs move slowly, so that theirs takes most of the variance
    away; gradients are of another batch each time, and on Last.fm a snapshot added to it.

    Args:
      nodes: layer 0, E, f32[R, F], in the rows of `graph`.
      memory: of the steps before.
      graph: S.
      lists: neighbours, of the same graph.
      train_events: training events.
      batch: i32[B], numbers of events.
      alpha: weight of layer 0, in (0, 1].
      most: neighbours that are drawn of a node.
      every: steps between snapshots.
      regularization: L2 weight.
      key: random key of negatives and neighbours.
    Returns:
      (loss f32[], metrics "bpr" and "squares"), gradient f32[R, F], memory.
    """
    n_users = train_events.degree.shape[0]
    n_items = graph.place.shape[0] - n_users
    key_negatives, key_neighbours = jax.random.split(key)
    users, positives = train_events.pairs[batch, 0], train_events.pairs[batch, 1]
    negatives = lightgcn.draw_negatives(train_events, users, n_items, key=key_negatives)
    weight = (train_events.degree[users] < n_items).astype(jnp.float32)
    rows = graph.place[jnp.concatenate([users, n_users + positives, n_users + negatives])]
    size = min(rows.shape[0], graph.rows)
    targets, inverse = jnp.unique(rows, return_inverse=True, size=size, fill_value=graph.rows - 1)
    drawn = draw_neighbours(lists, targets, most, key=key_neighbours)

    def propagated(x: jax.Array) -> jax.Array:
        return (1 - alpha) * estimated_product(graph, lists.degree, x, targets, drawn)

    memory = refreshed(memory, graph, every)
    layer_0 = nodes[targets]
    output = propagated(memory.output - memory.snapshot) + (1 - alpha) * memory.aggregate[targets] + alpha * layer_0

    def loss_of(output: jax.Array, layer_0: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        bpr, squares = lightgcn.triple_loss(output[inverse], layer_0[inverse], weight)
        return bpr + regularization * squares, {"bpr": bpr, "squares": squares}

    loss, (of_output, of_squares) = jax.value_and_grad(loss_of, (0, 1), has_aux=True)(output, layer_0)
    of_layer_0 = propagated(memory.gradient) + alpha * of_output
    gradient = jnp.zeros_like(nodes).at[targets].set(of_layer_0 + of_squares)
    memory = dataclasses.replace(
        memory,
        step=memory.step + 1,
        output=memory.output.at[targets].set(output),
        gradient=memory.gradient.at[targets].set(of_layer_0),
    )
    return loss, gradient, memory
