"""Meta-path walks on Beauty's training graph: all at once on the device beside the same steps in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.data import beauty_or_generated
from jaxrec.config import WalkConfig
from jaxrec.data.graph import bipartite_graph
from jaxrec.data.walks import walk

name = "walks"
reach, aim = 2.0, 3.0


def cases(quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
    """Two walks from every node that has an edge, over one table of edges; the peer steps all walks at once."""
    split, source = beauty_or_generated(quick)
    length = WalkConfig().length
    graph = bipartite_graph(split.train)
    starts = np.tile(np.flatnonzero(graph.degree).astype(np.int32), 2)
    device_graph, device_starts, key = jax.tree.map(jnp.asarray, graph), jnp.asarray(starts), jax.random.key(0)
    target, low, count = (np.ascontiguousarray(graph.edges[:, column]) for column in range(3))
    random = np.random.default_rng(0)

    def ours() -> jax.Array:
        return jax.block_until_ready(walk(device_graph, device_starts, length, key=key))

    def peer() -> np.ndarray:
        walks = np.empty((length, len(starts)), np.int32)
        walks[0] = starts
        begin, size = graph.first[starts], graph.degree[starts]
        for step in range(1, length):
            edge = begin + random.integers(0, size)
            walks[step], begin, size = target[edge], low[edge], count[edge]
        return walks.T

    mine, theirs = (np.bincount(np.asarray(run()).reshape(-1), minlength=graph.n_nodes) for run in (ours, peer))
    correlation = np.corrcoef(mine, theirs)[0, 1]
    note = (
        f"{source}, {len(starts):,} walks of {length}; correlation of visits per node with the peer's {correlation:.4f}"
    )
    return ours, peer, float(starts.size * length), "nodes", note
