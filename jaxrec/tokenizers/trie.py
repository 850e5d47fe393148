"""The valid ids as sorted arrays: a node is an interval of them, a leaf's position is the item."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import numpy as np

from jaxrec.types import Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["rows", "items", "leaves", "starts", "first_child"],
    meta_fields=["widths"],
)
@dataclasses.dataclass(frozen=True)
class Trie:
    """A prefix tree over rows of tokens, made by `Trie.build`.

    Depth d has N_d nodes, the distinct prefixes of d tokens in lexicographic order: the root at depth 0, the I leaves
    at depth L'. Node n of depth d is the interval starts[d][n] <= leaf < starts[d][n+1], and its children are the nodes
    first_child[d][n] <= m < first_child[d][n+1] of depth d+1. Sizes are shapes, hence static under jit.

    Attributes:
      rows: the ids in lexicographic order, i32[I, L'].
      items: the item at each leaf, i32[I].
      leaves: the leaf of each item, i32[I]; the inverse of `items`.
      starts: for each depth 0..L', i32[N_d + 1].
      first_child: for each depth 0..L'-1, i32[N_d + 1].
      widths: for each depth 0..L'-1, the largest number of children of a node; static.
    """

    rows: Array
    items: Array
    leaves: Array
    starts: tuple[Array, ...]
    first_child: tuple[Array, ...]
    widths: tuple[int, ...]

    @property
    def n_items(self) -> int:
        """I."""
        return self.rows.shape[0]

    @property
    def depth(self) -> int:
        """L', tokens in an id."""
        return self.rows.shape[1]

    @property
    def stem(self) -> int:
        """How many tokens all ids begin with, less than L': what follows them is the first choice there is."""
        return max(depth for depth in range(self.depth) if self.size(depth) == 1)

    def size(self, depth: int) -> int:
        """N_d, the number of distinct prefixes of `depth` tokens."""
        return self.starts[depth].shape[0] - 1

    @staticmethod
    def build(ids: np.ndarray) -> Trie:
        """The trie of these ids.

        Args:
          ids: the tokens of each item, i32[I, L'], all positive, no two rows equal.
        Raises:
          ValueError: there is no id, an id holds padding (0) or a negative number, or two items share an id.
        """
        ids = np.asarray(ids)
        if ids.ndim != 2 or 0 in ids.shape or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"ids must be integers of shape [I, L'] with I, L' > 0; came {ids.dtype}{list(ids.shape)}")
        ids = ids.astype(np.int32)
        if ids.min() <= 0:
            item = int(np.flatnonzero((ids <= 0).any(axis=1))[0])
            raise ValueError(f"the id of item {item} is {ids[item].tolist()}; its tokens must be > 0, as 0 is padding")
        items = np.lexsort(ids.T[::-1])
        rows = ids[items]
        # begins[i, d]: row i is the first with its prefix of d tokens.
        begins = np.ones((len(rows), ids.shape[1] + 1), bool)
        begins[1:, 0] = False
        begins[1:, 1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
        if not begins[:, -1].all():
            leaf = int(np.flatnonzero(~begins[:, -1])[0])
            raise ValueError(
                f"items {items[leaf - 1]} and {items[leaf]} have the same id {rows[leaf].tolist()}; make ids unique"
            )
        starts = [np.append(np.flatnonzero(column), len(rows)).astype(np.int32) for column in begins.T]
        first_child = [
            np.searchsorted(finer, coarser).astype(np.int32) for coarser, finer in itertools.pairwise(starts)
        ]
        return Trie(
            rows=rows,
            items=items.astype(np.int32),
            leaves=np.argsort(items).astype(np.int32),
            starts=tuple(starts),
            first_child=tuple(first_child),
            widths=tuple(int(np.diff(children).max()) for children in first_child),
        )
