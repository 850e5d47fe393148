"""The graph of users and items as padded lists of neighbours or edges: normalised adjacency, and incidence matrix."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.types import Array

WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
"""Widths of the padded lists. A list longer than the last is cut into parts, so a row is never mostly padding."""
MULTIPLE = 8
"""Rows of a block are a multiple of this, so that blocks can be laid over the devices of a mesh."""
PART = 2048
"""Edges that are worked on at a time."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Adjacency:
    """D^-1/2 A D^-1/2 of a bipartite graph, A binary: He et al. 2020 (LightGCN), eq. 3.

    Nodes are users 0..U-1, then items U..U+I-1. Their vectors stand in *rows*, sorted by degree, so that blocks of rows
    have lists of one width and a product writes its blocks one after the other: `arrange` and `restore` go from
    nodes to rows and back. A few rows hold no node; the last one is such, and padded entries of lists point to it.

    Attributes:
      blocks: i32[rows, width] each, neighbours' rows, from the widest to the narrowest.
      long: lists longer than the widest block, cut into parts of at most its width, i32[parts, width]; then the lists
        of those parts, cut likewise, and so on until each has one row. They stand before all blocks. The last part is
        empty, and padded entries of the next lists point to it.
      scale: f32[R], degree^-1/2 of each row, 0 where a row has no neighbour.
      place: i32[U+I], the row of each node.
    """

    blocks: tuple[Array, ...]
    long: tuple[Array, ...]
    scale: Array
    place: Array

    @property
    def rows(self) -> int:
        """R, the rows that vectors have."""
        return self.scale.shape[0]

    @property
    def padding(self) -> float:
        """Share of list entries that are padding; of a graph on the host."""
        lists = (*self.blocks, self.long[0])
        real = sum(int((np.asarray(block) != self.rows - 1).sum()) for block in lists)
        return 1.0 - real / sum(block.size for block in lists)


def edges(users: np.ndarray, items: np.ndarray, n_items: int) -> np.ndarray:
    """Events as distinct edges, i32[E, 2] of (user, item), sorted by user, then item."""
    distinct = np.unique(users.astype(np.int64) * n_items + items)
    return np.stack(np.divmod(distinct, max(n_items, 1)), axis=1).astype(np.int32)


def adjacency(pairs: np.ndarray, n_users: int, n_items: int) -> Adjacency:
    """The graph of distinct edges.

    Args:
      pairs: i32[E, 2] of (user, item), as `edges` gives them.
      n_users: U.
      n_items: I.
    Raises:
      ValueError: a number is out of range, or an edge is repeated.
    """
    return _listed(pairs, n_users, n_items, of_edges=False)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Incidence:
    """The differences along edges, (D + I)^-1/2 between their ends: Fan et al. 2022 (GTN), section 3.

    Row e of the matrix is x_u / sqrt(d_u + 1) - x_i / sqrt(d_i + 1) for the edge e of user u and item i.

    Attributes:
      ends: i32[C, S, 2], the rows of user and item of each edge, in C parts of S edges. The last edges are padding:
        rows that hold no node.
      lists: the numbers of each row's edges, in the rows of `adjacency`; its scale is (d + 1)^-1/2, negative for items,
        and 0 where a row has no edge.
    """

    ends: Array
    lists: Adjacency


def incidence(pairs: np.ndarray, n_users: int, n_items: int) -> Incidence:
    """The incidence matrix of distinct edges; arguments and errors are those of `adjacency`."""
    lists = _listed(pairs, n_users, n_items, of_edges=True)
    ends = np.full((_padded_edges(pairs), 2), lists.rows - 1, np.int32)
    ends[: len(pairs)] = lists.place[pairs + np.array([0, n_users])]
    ends = ends.reshape(-1, min(PART, len(ends)), 2)
    squared = lists.scale**2  # 1 / d, and 1 / (d + 1) is 1 / d / (1 + 1 / d)
    scale = lists.scale / np.sqrt(1 + squared)
    scale[lists.place[n_users:]] *= -1
    return Incidence(ends, dataclasses.replace(lists, scale=scale))


def _padded_edges(pairs: np.ndarray) -> int:
    """How many edges there are with padding: more than there are pairs, and parts of equal size."""
    multiple = MULTIPLE if len(pairs) < PART else PART
    return (len(pairs) // multiple + 1) * multiple


def _listed(pairs: np.ndarray, n_users: int, n_items: int, *, of_edges: bool) -> Adjacency:
    """Lists of each node's neighbours' rows or, instead, of the numbers of its edges."""
    for name, values, size in (("user", pairs[:, 0], n_users), ("item", pairs[:, 1], n_items)):
        if len(values) and not 0 <= values.min() <= values.max() < size:
            raise ValueError(f"{name} holds {values.min()}..{values.max()}, wanted 0..{size - 1}")
    if len(np.unique(pairs, axis=0)) < len(pairs):
        raise ValueError("an edge stands twice, but the adjacency is binary; make the pairs by `edges`")
    source = np.concatenate([pairs[:, 0], pairs[:, 1] + n_users])
    order = np.argsort(source, kind="stable")
    target = np.concatenate([pairs[:, 1] + n_users, pairs[:, 0]])[order]
    degree = np.bincount(source, minlength=n_users + n_items)
    first = np.cumsum(degree) - degree

    # Which node each row holds, -1 for none: lists too long for a block, each block, nodes without a neighbour.
    bounds = (np.inf, *WIDTHS[::-1], 0, -1)
    groups = [
        _filled(np.flatnonzero((degree <= most) & (degree > least))) for most, least in itertools.pairwise(bounds)
    ]
    for edge in (0, -1):  # the last row holds none; and no array is empty, which a checkpoint could not hold
        groups[edge] = np.append(groups[edge], np.full(MULTIPLE, -1))
    node = np.concatenate(groups)
    place = np.empty(n_users + n_items, np.int32)
    place[node[node >= 0]] = np.flatnonzero(node >= 0)
    listed = np.tile(np.arange(len(pairs)), 2)[order] if of_edges else place[target]
    empty = (_padded_edges(pairs) if of_edges else len(node)) - 1

    def entries_of(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the lists of nodes hold, one node after the other, and how much each does."""
        count = np.where(nodes >= 0, degree[nodes], 0)
        return listed[np.repeat(first[nodes], count) + _within(count)], count

    blocks = tuple(
        _padded(*entries_of(group), width, empty) for group, width in zip(groups[1:-1], WIDTHS[::-1]) if len(group)
    )
    sums, (entries, count), pad = [], entries_of(groups[0]), empty
    while not sums or len(sums[-1]) > len(groups[0]):
        pieces = np.maximum(-(-count // WIDTHS[-1]), 1)
        sizes = np.minimum(np.repeat(count, pieces) - _within(pieces) * WIDTHS[-1], WIDTHS[-1])
        sums.append(_padded(entries, np.append(sizes, np.zeros(-len(sizes) % MULTIPLE, int)), max(sizes.max(), 1), pad))
        entries, count, pad = np.arange(len(sizes)), pieces, len(sums[-1]) - 1
    scale = np.where(node >= 0, np.maximum(degree[node], 1) ** -0.5 * (degree[node] > 0), 0.0).astype(np.float32)
    return Adjacency(blocks, tuple(sums), scale, place)


def _filled(nodes: np.ndarray) -> np.ndarray:
    """Nodes, and -1 up to a multiple of MULTIPLE."""
    return np.append(nodes, np.full(-len(nodes) % MULTIPLE, -1, nodes.dtype))


def _within(sizes: np.ndarray) -> np.ndarray:
    """0, 1, ... within each of consecutive groups of these sizes."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _padded(entries: np.ndarray, sizes: np.ndarray, width: int, pad: int) -> np.ndarray:
    """Consecutive lists of these sizes as rows i32[n, width], filled up with `pad`."""
    rows = np.full((len(sizes), width), pad, np.int32)
    rows[np.arange(width) < sizes[:, None]] = entries
    return rows


def arrange(graph: Adjacency, vectors: Array) -> jax.Array:
    """Vectors of nodes f32[U+I, F] as rows f32[R, F]; zeros in rows that hold no node."""
    return jnp.zeros((graph.rows, vectors.shape[1]), vectors.dtype).at[graph.place].set(vectors, unique_indices=True)


def restore(graph: Adjacency, rows: Array) -> jax.Array:
    """The inverse of `arrange`: rows f32[R, F] as vectors of nodes f32[U+I, F]."""
    return jnp.asarray(rows)[graph.place]


@jax.custom_vjp
def product(graph: Adjacency, x: jax.Array) -> jax.Array:
    """D^-1/2 A D^-1/2 x by gathers and sums alone, without a scatter, in the backward pass too.

    The matrix is symmetric, so its transpose, which the gradient is multiplied by, is itself.

    Args:
      graph: of `adjacency`.
      x: f32[R, F], rows of `arrange`. F may be sharded; every device then works on features of its own.
    Returns:
      f32[R, F]; zeros in rows without a neighbour.
    """
    return _scaled_sums(graph, x * graph.scale[:, None])  # x of the empty row is 0 now, whatever it was


def _scaled_sums(graph: Adjacency, x: jax.Array) -> jax.Array:
    """Each row's sum over the rows of x f32[n, F] in its list, times its scale, f32[R, F]; the last row of x is 0."""
    parts = x
    for lists in graph.long[:-1]:
        parts = _sums(parts, lists)
    outputs, row = [], 0
    for source, lists in ((parts, graph.long[-1]), *((x, block) for block in graph.blocks)):
        # Scaled here, in the loop that sums, and not in one more pass over all rows.
        scale = graph.scale[row : row + lists.shape[0], None]
        outputs.append(_sums(source, lists) * scale)
        row += lists.shape[0]
    return jnp.concatenate([*outputs, jnp.zeros((graph.rows - row, x.shape[1]), x.dtype)])


def _sums(x: jax.Array, lists: Array) -> jax.Array:
    """Sum of the rows of x f32[n, F] that each list i32[m, width] names, f32[m, F].

    A sum of `width` gathers compiles to one loop that keeps the sum in registers; on CPU it was ten times as fast as
    one gather of [m, width, F] that is summed afterwards.
    """
    total = jnp.zeros((lists.shape[0], x.shape[1]), x.dtype)
    for column in range(lists.shape[1]):
        total = total + x.at[lists[:, column]].get(mode="promise_in_bounds")
    return total


def _product_forward(graph: Adjacency, x: jax.Array) -> tuple[jax.Array, Adjacency]:
    return product(graph, x), graph


def _product_backward(graph: Adjacency, gradient: jax.Array) -> tuple[None, jax.Array]:
    return None, product(graph, gradient)


product.defvjp(_product_forward, _product_backward)


def along_edges(change: Callable[..., Any], incidence: Incidence, x: jax.Array, *of_edges: jax.Array) -> Any:
    """change(the incidence matrix times x, *of_edges), elementwise, part by part.

    A loop over parts, because on CPU the compiler would otherwise compute each difference again wherever it is read.

    Args:
      change: of differences f32[S, F] and the parts of `of_edges`, to arrays [S, F].
      incidence: of `incidence`.
      x: f32[R, F], rows of `arrange`.
      of_edges: arrays [C, S, F].
    Returns:
      what `change` returns, [C, S, F]; differences of padded edges are 0.
    """
    scaled = x * incidence.lists.scale[:, None]

    def part(_: None, inputs: tuple[jax.Array, ...]) -> tuple[None, Any]:
        ends, *values = inputs
        user, item = (scaled.at[ends[:, side]].get(mode="promise_in_bounds") for side in (0, 1))
        return None, change(user + item, *values)

    return lax.scan(part, None, (incidence.ends, *of_edges))[1]


def gathered(incidence: Incidence, y: jax.Array) -> jax.Array:
    """The transposed incidence matrix times y f32[C, S, F], f32[R, F]; y is 0 for padded edges."""
    return _scaled_sums(incidence.lists, y.reshape(-1, y.shape[2]))
