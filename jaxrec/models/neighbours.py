"""Neighbours drawn without repetition, and sums over all neighbours estimated from those."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.models.sparse import Adjacency
from jaxrec.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The neighbours of every row of an `Adjacency`, one row after the other.

    Attributes:
      entries: i32[2E], rows of neighbours.
      first: i32[R]; the neighbours of row r are entries[first[r]] .. entries[first[r] + degree[r] - 1].
      degree: i32[R].
    """

    entries: Array
    first: Array
    degree: Array


def neighbours(pairs: np.ndarray, n_users: int, graph: Adjacency) -> Neighbours:
    """The neighbours of distinct edges.

    Args:
      pairs: i32[E, 2] of (user, item), of which the graph was made.
      n_users: U.
      graph: of `jaxrec.models.sparse.adjacency`.
    """
    ends = np.asarray(graph.place)[pairs + np.array([0, n_users])]
    source, entries = np.concatenate([ends, ends[:, ::-1]]).T
    degree = np.bincount(source, minlength=graph.rows)
    first = np.cumsum(degree) - degree
    entries = entries[np.argsort(source, kind="stable")]
    return Neighbours(*(x.astype(np.int32) for x in (entries, first, degree)))


def draw_neighbours(lists: Neighbours, rows: Array, most: int, *, key: jax.Array) -> jax.Array:
    """A uniformly random set of neighbours of each row; all of them where there are at most as many.

    Floyd's algorithm (Bentley and Floyd 1987), without repetition and without rejection: round c draws one of the first
    degree - most + c + 1 neighbours, and takes the last of these instead if the one drawn is in the set already.

    Args:
      lists: of all rows.
      rows: i32[T].
      most: D, the size of a set.
      key: random key.
    Returns:
      i32[T, D], rows of neighbours; the last row, which holds no node, where a row has fewer than D.
    """
    degree, place = lists.degree[rows], jnp.arange(most)[None]
    largest = jnp.maximum(degree[:, None] - most + place, 0)
    drawn = jax.random.randint(key, largest.shape, 0, largest + 1)

    def take(c: int, chosen: jax.Array) -> jax.Array:
        again = (chosen == drawn[:, c, None]).any(1)
        return chosen.at[:, c].set(jnp.where(again, largest[:, c], drawn[:, c]))

    chosen = lax.fori_loop(0, most, take, jnp.full_like(drawn, -1))
    chosen = jnp.where(degree[:, None] > most, chosen, place)
    entries = lists.entries[jnp.minimum(lists.first[rows, None] + chosen, lists.entries.shape[0] - 1)]
    return jnp.where(chosen < degree[:, None], entries, lists.degree.shape[0] - 1)


def estimated_product(graph: Adjacency, degree: Array, x: jax.Array, rows: Array, drawn: jax.Array) -> jax.Array:
    """Rows of `jaxrec.models.sparse.product` from drawn neighbours alone: unbiased, and exact where all are drawn.

    Args:
      graph: D^-1/2 A D^-1/2.
      degree: i32[R], of its rows.
      x: f32[R, F].
      rows: i32[T], those wanted.
      drawn: i32[T, D], of `draw_neighbours`.
    Returns:
      f32[T, F].
    """
    scaled = x * graph.scale[:, None]
    total = jnp.zeros((rows.shape[0], x.shape[1]), x.dtype)
    for column in range(drawn.shape[1]):  # one loop that keeps the sum in registers, as in `product`
        total = total + scaled.at[drawn[:, column]].get(mode="promise_in_bounds")
    return total * (graph.scale[rows] * jnp.maximum(degree[rows] / drawn.shape[1], 1.0))[:, None]
