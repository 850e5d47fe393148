"""Ways to group vectors into the clusters of META ID: K-means, spectral clustering, DBSCAN; table 4."""

from __future__ import annotations

import jax
import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from jaxrec.config import IdConfig
from jaxrec.tokenizers import spectral
from jaxrec.tokenizers.quantizers import kmeans

QUANTILES = np.linspace(0.05, 0.95, 10)


def group(rows: np.ndarray, config: IdConfig, *, key: jax.Array) -> kmeans.KMeans:
    """Clusters of vectors, as a clustering around centroids, the means of the members' unit rows (eq. 7).

    Args:
      rows: f32[n,F], none of them zeros.
      config: kind ("meta_id" is K-means by cosine), clusters, restarts, iterations, neighbours and eps are read.
      key: random key.
    Returns:
      A member of a spectral or DBSCAN cluster may be nearer to another cluster's centroid.
    Raises:
      ValueError: more clusters than rows, or DBSCAN finds none.
    """
    if config.kind not in ("spectral", "dbscan"):
        return kmeans.fit(rows, config.clusters, restarts=config.restarts, iterations=config.iterations, key=key)
    if config.clusters > len(rows):
        raise ValueError(f"clusters={config.clusters} exceeds the {len(rows)} rows to cluster; lower ids.clusters")
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if config.kind == "spectral":
        graph = spectral.neighbours(units, config.neighbours)
        found = spectral.cluster(graph, config.clusters, restarts=config.restarts, key=key)
    else:
        found = density(units, config.clusters, config.neighbours, config.eps)
    return _around_centroids(units.astype(np.float32), found)


def density(units: np.ndarray, clusters: int, neighbours: int, eps: float = 0.0) -> np.ndarray:
    """DBSCAN (Ester et al. 1996) by cosine distance.

    Args:
      units: rows of length 1, f32[n,F].
      clusters: how many are wanted where `eps` is to be found.
      neighbours: how many rows within `eps`, itself among them, make a row a core.
      eps: a cosine distance; 0 tries those within which 5% to 95% of the rows are cores, and takes the one whose number
        of clusters is nearest to `clusters`.
    Returns:
      i32[n], -1 for noise.
    Raises:
      ValueError: there is no cluster.
    """
    distances = [eps]
    if not eps:
        near = NearestNeighbors(n_neighbors=min(neighbours, len(units)), metric="cosine").fit(units)
        reach = near.kneighbors(units)[0][:, -1]
        distances = np.maximum(np.quantile(reach, QUANTILES), 1e-9).tolist()
    tried = [DBSCAN(eps=d, min_samples=neighbours, metric="cosine").fit(units).labels_ for d in distances]
    best = min(tried, key=lambda labels: abs(int(labels.max()) + 1 - clusters))
    if best.max() < 0:
        raise ValueError("DBSCAN finds no cluster in these vectors; raise ids.eps or lower ids.neighbours")
    return best.astype(np.int32)


def _around_centroids(units: np.ndarray, found: np.ndarray) -> kmeans.KMeans:
    """A clustering by its labels; whoever has none (-1) joins the cluster whose centroid is nearest."""
    size = found.max() + 1
    centroids = np.zeros((size, units.shape[1]), np.float64)
    members = found >= 0
    np.add.at(centroids, found[members], units[members])
    centroids /= np.bincount(found[members], minlength=size)[:, None]
    directions = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    cosines = units @ directions.T
    assignment = np.where(members, found, cosines.argmax(axis=1)).astype(np.int32)
    distance = 1.0 - cosines[np.arange(len(units)), assignment]
    return kmeans.KMeans(centroids.astype(np.float32), assignment, np.clip(distance, 0.0, 2.0).astype(np.float32))
