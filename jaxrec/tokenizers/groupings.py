"""Ways to group vectors into the clusters of META ID: K-means, spectral clustering, DBSCAN; table 4."""

from __future__ import annotations

import jax
import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from jaxrec.config import IdConfig
from jaxrec.tokenizers import spectral
from jaxrec.tokenizers.quantizers import kmeans

MOST_CLUSTERS = 100
QUANTILES = np.linspace(0.05, 0.95, 10)


def clusters_of(config: IdConfig, n_rows: int) -> int:
    """The number of clusters of n rows: ids.clusters or, where that is 0, the root of n but at most `MOST_CLUSTERS`."""
    return config.clusters or min(MOST_CLUSTERS, max(1, round(n_rows**0.5)))


def by_kmeans(rows: np.ndarray, config: IdConfig, *, key: jax.Array) -> kmeans.KMeans:
    """K-means by cosine.

    Args:
      rows: f32[n,F], none of them zeros.
      config: clusters, restarts and iterations are read.
      key: random key.
    Raises:
      ValueError: more clusters than rows.
    """
    clusters = clusters_of(config, len(rows))
    return kmeans.fit_kmeans(rows, clusters, restarts=config.restarts, iterations=config.iterations, key=key)


def by_spectrum(rows: np.ndarray, config: IdConfig, *, key: jax.Array) -> kmeans.KMeans:
    """Spectral clustering of the graph of nearest neighbours by cosine.

    Args:
      rows: f32[n,F], none of them zeros.
      config: clusters, restarts and neighbours are read.
      key: random key.
    Returns:
      A clustering around the means of the members' unit rows (eq. 7); a member may be nearer to another centroid.
    Raises:
      ValueError: more clusters than rows.
    """
    clusters = clusters_of(config, len(rows))
    units = _units(rows, clusters)
    graph = spectral.neighbour_graph(units, config.neighbours)
    labels = spectral.spectral_clusters(graph, clusters, restarts=config.restarts, key=key)
    return _around_centroids(units, labels)


def by_density(rows: np.ndarray, config: IdConfig, *, key: jax.Array) -> kmeans.KMeans:
    """DBSCAN by cosine; noise points join the cluster with the nearest centroid.

    Args:
      rows: f32[n,F], none of them zeros.
      config: clusters, neighbours and eps are read.
      key: not used.
    Returns:
      As of `by_spectrum`.
    Raises:
      ValueError: there are more clusters than rows, or DBSCAN finds no cluster.
    """
    del key
    clusters = clusters_of(config, len(rows))
    units = _units(rows, clusters)
    return _around_centroids(units, dbscan_labels(units, clusters, config.neighbours, config.eps))


def dbscan_labels(units: np.ndarray, clusters: int, neighbours: int, eps: float = 0.0) -> np.ndarray:
    """DBSCAN (Ester et al. 1996) by cosine distance.

    Args:
      units: rows of length 1, f32[n,F].
      clusters: target number of clusters if `eps` is 0.
      neighbours: minimum number of rows within `eps`, itself included, for a core point.
      eps: a cosine distance; 0 tries distances at which 5% to 95% of the rows are core points, and takes the one whose
        number of clusters is nearest to `clusters`.
    Returns:
      i32[n], -1 for noise.
    Raises:
      ValueError: there is no cluster.
    """
    distances = [eps]
    if not eps:
        neighbour_search = NearestNeighbors(n_neighbors=min(neighbours, len(units)), metric="cosine").fit(units)
        kth_distance = neighbour_search.kneighbors(units)[0][:, -1]
        distances = np.maximum(np.quantile(kth_distance, QUANTILES), 1e-9).tolist()
    labelings = [DBSCAN(eps=d, min_samples=neighbours, metric="cosine").fit(units).labels_ for d in distances]
    best = min(labelings, key=lambda labels: abs(int(labels.max()) + 1 - clusters))
    if best.max() < 0:
        raise ValueError("DBSCAN finds no cluster in these vectors; raise ids.eps or lower ids.neighbours")
    return best.astype(np.int32)


def _units(rows: np.ndarray, clusters: int) -> np.ndarray:
    if clusters > len(rows):
        raise ValueError(f"clusters={clusters} exceeds the {len(rows)} rows to cluster; lower ids.clusters")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _around_centroids(units: np.ndarray, labels: np.ndarray) -> kmeans.KMeans:
    """A clustering by its labels; a row without one (-1) joins the cluster whose centroid is nearest."""
    units = units.astype(np.float32)
    size = labels.max() + 1
    centroids = np.zeros((size, units.shape[1]), np.float64)
    members = labels >= 0
    np.add.at(centroids, labels[members], units[members])
    centroids /= np.bincount(labels[members], minlength=size)[:, None]
    directions = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    cosines = units @ directions.T
    assignment = np.where(members, labels, cosines.argmax(axis=1)).astype(np.int32)
    distance = 1.0 - cosines[np.arange(len(units)), assignment]
    return kmeans.KMeans(centroids.astype(np.float32), assignment, np.clip(distance, 0.0, 2.0).astype(np.float32))
