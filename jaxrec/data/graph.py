"""The graph of meta-path walks: a table of edges, each with the range of edges that may follow it."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from jaxrec.types import Array, Histories


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Graph:
    """Directed edges sorted by (source node, relation), so that the successors of an edge are one slice of them.

    Attributes:
      edges: i32[E, 4], one row per edge: its target node, the first edge that may follow it, the number of edges that
        may follow (0 = dead end), and 0 to pad the row to 16 bytes; a step of a walk reads one row.
      first: i32[n]; the edges of node v are first[v] .. first[v] + degree[v] - 1.
      degree: i32[n]; 0 for a node without edges.
    """

    edges: Array
    first: Array
    degree: Array

    @property
    def n_nodes(self) -> int:
        return self.first.shape[0]

    @property
    def n_edges(self) -> int:
        return self.edges.shape[0]


def build_graph(
    source: np.ndarray, target: np.ndarray, relation: np.ndarray, n_nodes: int, follows: np.ndarray
) -> Graph:
    """The graph of a meta-path given as arrays.

    After an edge of relation r a walk takes an edge of relation follows[r]. So `follows = arange(R)`
    keeps one relation for a whole walk (U-I-U over equal ratings, eq. 6), and `follows = [1, 2, 3, 0]` with the
    relations user-item, item-brand, brand-item, item-user is the meta-path U-I-B-I-U.

    Args:
      source: node that an edge leaves, i[E] below n_nodes.
      target: node that it leads to, i[E] below n_nodes. A repeated edge is drawn proportionally often.
      relation: kind of the edge, i[E] below len(follows).
      n_nodes: number of nodes.
      follows: relation that comes after each relation, i[R].
    Raises:
      ValueError: a number is out of range, or there are more than 2**31 - 1 edges.
    """
    relations = len(follows)
    for name, values, size in (
        ("source", source, n_nodes),
        ("target", target, n_nodes),
        ("relation", relation, relations),
        ("follows", follows, relations),
    ):
        if len(values) and not 0 <= values.min() <= values.max() < size:
            raise ValueError(f"{name} holds {values.min()}..{values.max()}, wanted 0..{size - 1}")
    if len(source) > np.iinfo(np.int32).max:
        raise ValueError(f"{len(source)} edges do not fit 32-bit numbers; split the graph")
    slot = source.astype(np.int64) * relations + relation
    order = np.argsort(slot, kind="stable")
    slot, target, relation = slot[order], target[order], relation[order]
    next_slot = target.astype(np.int64) * relations + follows[relation]
    begin = np.searchsorted(slot, next_slot, side="left")
    end = np.searchsorted(slot, next_slot, side="right")
    edges = np.stack([target, begin, end - begin, np.zeros_like(begin)], axis=1).astype(np.int32)
    degree = np.bincount(source, minlength=n_nodes)
    return Graph(edges, (np.cumsum(degree) - degree).astype(np.int32), degree.astype(np.int32))


def bipartite_graph(histories: Histories, *, equal_ratings: bool = True) -> Graph:
    """Users and items, an edge each way for every event; META ID, eq. (6) and appendix A.1.

    Args:
      histories: training events. Users are nodes 0..U-1, items U..U+I-1.
      equal_ratings: whether a walk keeps to edges of one rating; withheld ratings (NaN) count as one
        rating. Without ratings all edges are one relation.
    """
    users = histories.users.astype(np.int64)
    items = histories.items.astype(np.int64) + histories.n_users
    if equal_ratings and histories.ratings is not None:
        values, relation = np.unique(histories.ratings, return_inverse=True)
        relations = len(values)
    else:
        relation, relations = np.zeros(len(users), np.int64), 1
    return build_graph(
        np.concatenate([users, items]),
        np.concatenate([items, users]),
        np.concatenate([relation, relation]),
        histories.n_users + histories.n_items,
        np.arange(relations),
    )
