"""Cosine K-means on the accelerator: greedy k-means++ seeds, restarts, empty clusters refilled."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.types import Array

BLOCK_SCORES = 2**22
"""Similarities in memory at a time while rows are assigned; 16 MB of them stay near the cache, small beside a table."""


class KMeans(NamedTuple):
    """A clustering.

    Attributes:
      centroids: f32[G, F], the mean of a cluster's unit rows (eq. 7); an empty cluster keeps a unit direction.
      assignment: i32[n], the centroid nearest by cosine, the lowest of equals.
      distance: f32[n], cosine distance to it, in [0, 2].
    """

    centroids: Array
    assignment: Array
    distance: Array


def fit_kmeans(x: Array, clusters: int, *, restarts: int = 4, iterations: int = 50, key: jax.Array) -> KMeans:
    """Spherical K-means (Dhillon and Modha 2001): the least sum of cosine distances to the centroids' directions.

    META ID, section 5.2: K-means by cosine similarity, seeded by k-means++ (Arthur and Vassilvitskii 2007) with
    2 + log(G) candidates a step as scikit-learn does.

    Args:
      x: rows to cluster, f32[n, F]; only their direction counts, so none may be zero.
      clusters: G, at most n.
      restarts: runs from fresh seeds, of which the best is kept.
      iterations: most updates of a run; it ends earlier when no row moves.
      key: random key.
    Raises:
      ValueError: more clusters than rows, a row of zeros, or a number below 1.
    """
    x = np.asarray(x, np.float32)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    if min(clusters, restarts, iterations) < 1:
        raise ValueError(f"clusters={clusters}, restarts={restarts} and iterations={iterations} have to be at least 1")
    if clusters > len(x):
        raise ValueError(f"clusters={clusters} exceeds the {len(x)} rows to cluster; lower ids.clusters")
    if not (norm > 0).all() or not np.isfinite(norm).all():
        raise ValueError(f"row {int(np.argmin(norm > 0))} has no direction (zeros or not finite); leave such rows out")
    units = jnp.asarray(x / norm)
    best = None
    for run in range(restarts):
        seeds = seed(units, clusters, key=jax.random.fold_in(key, run))
        clustering = improve(units, seeds, iterations=iterations)
        if best is None or float(clustering.distance.sum()) < float(best.distance.sum()):
            best = clustering
    assert best is not None
    return KMeans(*(np.asarray(part) for part in best))


@functools.partial(jax.jit, static_argnames="clusters")
def seed(units: jax.Array, clusters: int, *, key: jax.Array) -> jax.Array:
    """Greedy k-means++: centres one by one, the best of some rows drawn by their distance to the nearest so far.

    Args:
      units: rows of length 1, f32[n, F].
      clusters: G.
      key: random key.
    Returns:
      G of the rows, f32[G, F].
    """
    n, width = units.shape
    candidates = 2 + int(math.log(clusters))
    first = units[jax.random.randint(key, (), 0, n)]

    def add(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        centers, nearest = state
        # On the sphere 1 - cos is half the squared distance, which k-means++ draws by. Where all rows are centres
        # already, all weights are 0 and any row will do.
        weights = jnp.log(jnp.maximum(nearest, 1e-12))
        drawn = jax.random.categorical(jax.random.fold_in(key, i), weights, shape=(candidates,))
        closer = jnp.minimum(nearest[:, None], 1.0 - _similarity(units, units[drawn]))
        chosen = jnp.argmin(closer.sum(0))
        return centers.at[i].set(units[drawn[chosen]]), closer[:, chosen]

    centers = jnp.zeros((clusters, width)).at[0].set(first)
    nearest = 1.0 - _similarity(units, first[None])[:, 0]
    return lax.fori_loop(1, clusters, add, (centers, nearest))[0]


@functools.partial(jax.jit, static_argnames="iterations")
def improve(units: jax.Array, centers: jax.Array, *, iterations: int) -> KMeans:
    """Lloyd's updates until no row moves, or `iterations` of them.

    Args:
      units: rows of length 1, f32[n, F].
      centers: where to start, f32[G, F]; only directions count.
      iterations: most updates.
    """
    clusters = centers.shape[0]

    def update(assignment: jax.Array, distance: jax.Array, centers: jax.Array) -> jax.Array:
        sums = jnp.zeros_like(centers).at[assignment].add(units)
        sizes = jnp.zeros(clusters).at[assignment].add(1.0)[:, None]
        # The i-th empty cluster moves to the i-th row by distance from its own centroid.
        _, far = lax.top_k(distance, clusters)
        empty = sizes == 0
        refill = units[far[jnp.cumsum(empty[:, 0]) - 1]]
        return jnp.where(empty, refill, sums / jnp.maximum(sizes, 1.0))

    def again(state):
        i, _, _, _, moved = state
        return moved & (i < iterations)

    def body(state):
        i, centers, assignment, distance, _ = state
        centers = update(assignment, distance, centers)
        new, distance = nearest(units, centers)
        return i + 1, centers, new, distance, (new != assignment).any()

    assignment, distance = nearest(units, centers)
    start = (jnp.int32(0), centers, assignment, distance, jnp.bool_(True))
    _, centers, assignment, distance, _ = lax.while_loop(again, body, start)
    return KMeans(centers, assignment, distance)


@jax.jit
def nearest(units: jax.Array, centroids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Number i32[n] of the centroid nearest by cosine, and the cosine distance f32[n] to it.

    Args:
      units: rows of length 1, f32[n, F].
      centroids: f32[G, F], of any length but 0.
    """
    n, width = units.shape
    directions = centroids / jnp.maximum(jnp.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    block = max(1, min(n, BLOCK_SCORES // centroids.shape[0]))
    blocks = -(-n // block)
    padded = jnp.pad(units, ((0, blocks * block - n), (0, 0))).reshape(blocks, block, width)

    def assign(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = _similarity(rows, directions)
        return jnp.argmax(scores, axis=1).astype(jnp.int32), 1.0 - scores.max(1)

    number, distance = lax.map(assign, padded)
    return number.reshape(-1)[:n], jnp.clip(distance.reshape(-1)[:n], 0.0, 2.0)


def _similarity(a: jax.Array, b: jax.Array) -> jax.Array:
    """<a_i, b_j>, in full precision: ranks inside a cluster hang on small differences."""
    return jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)
