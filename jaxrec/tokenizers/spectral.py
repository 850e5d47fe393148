"""Spectral clustering of a sparse graph, and the graphs it runs on: nearest neighbours, and co-occurrence."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import kneighbors_graph

from jaxrec.types import Histories

Sparse = Any  # a scipy.sparse.csr_array, of which type checkers know too little
DENSE = 400
"""Maximum number of nodes for the dense solver, which is faster for small graphs and always converges."""


def neighbour_graph(rows: np.ndarray, count: int) -> Sparse:
    """Links between rows f32[n,F] and their `count` nearest by cosine, 1 where both choose each other, else 1/2."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    graph = scipy.sparse.csr_array(kneighbors_graph(units, min(count, len(rows) - 1), mode="connectivity"))
    return (graph + graph.T) / 2


def cooccurrence(histories: Histories, entity: str) -> Sparse:
    """How many users each two items share, f64[I,I], or how many items each two users share, f64[U,U].

    0 on the diagonal. Hua et al. 2023, section 4.3 (for items).

    Args:
      histories: events.
      entity: "user" or "item".
    """
    shape = histories.n_users, histories.n_items
    events: Sparse = scipy.sparse.csr_array((np.ones(histories.n_events), (histories.users, histories.items)), shape)
    events.data[:] = 1  # an item that comes twice in a history counts once
    shared: Sparse = scipy.sparse.csr_array(events.T @ events if entity == "item" else events @ events.T)
    shared.setdiag(0)
    shared.eliminate_zeros()
    return shared


def spectral_clusters(graph: Sparse, clusters: int, *, restarts: int = 4, key: jax.Array) -> np.ndarray:
    """Normalised spectral clustering (Ng, Jordan and Weiss 2002).

    Nodes are placed by the leading eigenvectors of D^-1/2 W D^-1/2, rows scaled to length 1, and clustered by K-means.

    Args:
      graph: symmetric weights W, at least 0, sparse [n,n].
      clusters: how many, at least 1; fewer come out where there are fewer different places.
      restarts: of K-means.
      key: random key.
    Returns:
      i32[n], numbers from 0 on without gaps; -1 for nodes that the eigenvectors leave at the origin: those without a
      link, and those of small components where there are more components than clusters.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    numbers = np.full(graph.shape[0], -1, np.int32)
    graph = scipy.sparse.csr_array(graph)
    degree = np.asarray(graph.sum(axis=1))
    linked = np.flatnonzero(degree > 0)
    if not len(linked):
        return numbers
    scale = scipy.sparse.diags_array(1 / np.sqrt(degree[linked]))
    normal = scale @ graph[linked][:, linked] @ scale
    places = _leading(normal, min(clusters, len(linked)), rng)
    length = np.linalg.norm(places, axis=1)
    placed = length > 1e-6 * length.max()
    places = places[placed] / length[placed, None]
    settings: dict[str, Any] = {"n_init": restarts, "random_state": int(rng.integers(2**31))}
    means = KMeans(min(clusters, len(places)), **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different places than clusters
        labels = means.fit_predict(places)
    numbers[linked[placed]] = np.unique(labels, return_inverse=True)[1]
    return numbers


def _leading(normal: Sparse, count: int, rng: np.random.Generator) -> np.ndarray:
    """Eigenvectors of the `count` largest eigenvalues of a symmetric matrix [n,n], f64[n,count]."""
    n = normal.shape[0]
    if n <= max(DENSE, 3 * count):
        return scipy.linalg.eigh(normal.toarray(), subset_by_index=[n - count, n - 1])[1]
    return scipy.sparse.linalg.eigsh(normal, count, which="LA", v0=rng.normal(size=n))[1]


def cluster_tree(graph: Sparse, branches: int, leaf: int, *, key: jax.Array) -> np.ndarray:
    """Clusters in clusters: spectral clustering again and again until no part has more than `leaf` nodes.

    Hua et al. 2023, section 4.3. Their ids end at different depths; here a part that is small enough goes on as its own
    only child, number 0, so that all paths are as long as the longest.

    Args:
      graph: as in `cluster`.
      branches: N, into how many parts a part is split, at least 2.
      leaf: K, how many nodes a part may have that is not split.
      key: random key.
    Returns:
      The path of each node from the root, i32[n,depth], depth >= 1, below N; -1 for nodes without a link.
    """
    graph = scipy.sparse.csr_array(graph)
    linked = np.flatnonzero(np.asarray(graph.sum(axis=1)) > 0)
    paths = np.full((graph.shape[0], 1), -1, np.int32)
    level: list[np.ndarray] = [linked] if len(linked) else []
    depth = 0
    while level:
        if depth:
            paths = np.concatenate([paths, np.where(paths[:, :1] < 0, -1, 0).astype(np.int32)], axis=1)
        deeper = []
        for number, nodes in enumerate(level):
            part_key = jax.random.fold_in(jax.random.fold_in(key, depth), number)
            parts = _split(graph[nodes][:, nodes], branches, leaf, key=part_key)
            paths[nodes, depth] = parts
            deeper += [nodes[parts == part] for part in range(parts.max() + 1)]
        level = [nodes for nodes in deeper if len(nodes) > leaf]
        depth += 1
    return paths


def _split(graph: Sparse, branches: int, leaf: int, *, key: jax.Array) -> np.ndarray:
    """The part of each node, i32[n]. Nodes that have no link within follow in parts that are not full."""
    parts = spectral_clusters(graph, branches, key=key)
    if parts.max(initial=-1) < 1:  # nothing holds some together more than others: cut in pieces
        return np.arange(len(parts), dtype=np.int32) * min(branches, -(-len(parts) // leaf)) // len(parts)
    for node in np.flatnonzero(parts < 0):
        parts[node] = np.bincount(parts[parts >= 0]).argmin()
    return parts
