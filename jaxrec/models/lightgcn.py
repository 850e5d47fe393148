"""LightGCN and, with no layers, matrix factorisation: propagation, exact sampling of negatives, and the BPR loss."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.models.skipgram import softplus
from jaxrec.models.sparse import Adjacency, product
from jaxrec.models.unit import unit
from jaxrec.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Events:
    """Distinct training events, sorted by user and then item.

    Attributes:
      pairs: i32[E, 2] of (user, item).
      gaps: i32[E], how many items below this one its user has no event with.
      first: i32[U]; the events of user u are first[u] .. first[u] + degree[u] - 1.
      degree: i32[U].
    """

    pairs: Array
    gaps: Array
    first: Array
    degree: Array


def events(pairs: np.ndarray, n_users: int) -> Events:
    """Events from pairs i32[E, 2] of `jaxrec.models.sparse.edges`: distinct, sorted by user and then item."""
    degree = np.bincount(pairs[:, 0], minlength=n_users)
    first = np.cumsum(degree) - degree
    gaps = pairs[:, 1] - (np.arange(len(pairs)) - first[pairs[:, 0]])
    return Events(*(x.astype(np.int32) for x in (pairs, gaps, first, degree)))


def init(n_nodes: int, dim: int, *, key: jax.Array, scale: float = 0.1) -> jax.Array:
    """A fresh layer-0 table, f32[n_nodes, dim], normal with standard deviation `scale` as in LightGCN's public code."""
    return scale * jax.random.normal(key, (n_nodes, dim))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def propagate(nodes: jax.Array, graph: Adjacency, layers: int) -> jax.Array:
    """The mean of layers 0 to K, each the normalised sum over the neighbours in the one before.

    LightGCN, eq. (8) with alpha = 1 / (K + 1): (e + S e + S^2 e + ... + S^K e) / (K + 1), computed as
    e + S (e + S (e + ...)), which keeps no layer in memory. A symmetric linear map, so its gradient is itself.

    Args:
      nodes: layer 0, f32[R, F], in the rows of `graph`.
      graph: S.
      layers: K; 0 gives layer 0 itself.
    Returns:
      f32[R, F].
    """
    if layers == 0:
        return nodes
    # A loop, though K is small: unrolled, it took 1.6 times as long on CPU.
    total = lax.fori_loop(0, layers, lambda _, inner: nodes + product(graph, inner), nodes)
    return total / (layers + 1)


def _propagate_forward(nodes: jax.Array, graph: Adjacency, layers: int) -> tuple[jax.Array, Adjacency]:
    return propagate(nodes, graph, layers), graph


def _propagate_backward(layers: int, graph: Adjacency, gradient: jax.Array) -> tuple[jax.Array, None]:
    return propagate(gradient, graph, layers), None


propagate.defvjp(_propagate_forward, _propagate_backward)


def draw_negatives(train_events: Events, users: Array, n_items: int, *, key: jax.Array) -> jax.Array:
    """A uniformly random item without an event of the user, for every user; exact, without rejection.

    Draws r among the I - degree items without an event and finds the r-th: with p_0 < p_1 < ... the items of the user,
    it is r + (how many j have p_j - j <= r), by binary search.

    Args:
      train_events: training events.
      users: i32[B].
      n_items: I.
      key: random key.
    Returns:
      i32[B]. A user that has every item has no negative; its entry is an arbitrary item.
    """
    degree, low = train_events.degree[users], train_events.first[users]
    drawn = jax.random.randint(key, users.shape, 0, jnp.maximum(n_items - degree, 1))

    def bisect(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        first, last = bounds
        middle = (first + last) // 2
        below = train_events.gaps[jnp.minimum(middle, train_events.gaps.shape[0] - 1)] <= drawn
        searching = first < last
        return jnp.where(searching & below, middle + 1, first), jnp.where(searching & ~below, middle, last)

    # A loop on the device: unrolled, LLVM's vectoriser (jaxlib 0.11) takes time that is exponential in the rounds.
    place, _ = lax.fori_loop(0, int(n_items).bit_length(), bisect, (low, low + degree))
    return jnp.minimum(drawn + place - low, n_items - 1)


def loss(
    nodes: jax.Array,
    final: jax.Array,
    graph: Adjacency,
    train_events: Events,
    batch: Array,
    *,
    regularization: float,
    temperature: float | None = None,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Bayesian personalised ranking over events, each with one negative of its user.

    LightGCN, eq. (15), as a mean over triples: -log s(<u, i> - <u, j>) + l (|u_0|^2 + |i_0|^2 + |j_0|^2) / 2, where
    u, i, j are propagated vectors, u_0, i_0, j_0 those of layer 0 and j has no event with u. A user that has every
    item has no such j and counts 0.

    Args:
      nodes: layer 0, f32[R, F], in the rows of `graph`.
      final: their propagated vectors, f32[R, F]; layer 0 itself in matrix factorisation.
      graph: of users and items.
      train_events: training events.
      batch: i32[B], numbers of events.
      regularization: l.
      temperature: None, or replaces inner products <u, i> by cosines divided by it.
      key: random key of the negatives.
    Returns:
      Loss, f32[]; metrics "bpr" and "squares" f32[], its two summands (before l).
    """
    n_users = train_events.degree.shape[0]
    n_items = graph.place.shape[0] - n_users
    users, positives = train_events.pairs[batch, 0], train_events.pairs[batch, 1]
    negatives = draw_negatives(train_events, users, n_items, key=key)
    rows = graph.place[jnp.concatenate([users, n_users + positives, n_users + negatives])]
    weight = (train_events.degree[users] < n_items).astype(jnp.float32)
    bpr, squares = triple_loss(for_scores(final[rows], temperature), nodes[rows], weight)
    return bpr + regularization * squares, {"bpr": bpr, "squares": squares}


def for_scores(vectors: jax.Array, temperature: float | None) -> jax.Array:
    """Vectors f32[...,F] whose inner products are scores: themselves or, with a temperature, cosine / temperature."""
    return vectors if temperature is None else unit(vectors) * temperature**-0.5


def triple_loss(final: jax.Array, layer_0: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two summands of `loss`: users', then positives', then negatives' vectors f32[3B, F], weights f32[B]."""
    user, positive, negative = jnp.split(final, 3)
    margin = (user * (positive - negative)).sum(-1)
    triples = jnp.maximum(weight.sum(), 1.0)
    squares = 0.5 * jnp.square(layer_0).sum(-1).reshape(3, -1).sum(0)
    return (weight * softplus(-margin)).sum() / triples, (weight * squares).sum() / triples
