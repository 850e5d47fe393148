"""META ID's ids: `<Item><CTi><CIj>`, a cluster of the vectors and the rank within the cluster."""

from __future__ import annotations

import dataclasses
import functools
import heapq
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.keys import stream
from jaxrec.tokenizers import groupings
from jaxrec.tokenizers.entity_ids import EntityIds
from jaxrec.tokenizers.kind import IdInputs, Kind
from jaxrec.tokenizers.quantizers import kmeans
from jaxrec.types import Codes

LEVELS = ("<CT{}>", "<CI{}>")


@dataclasses.dataclass(frozen=True)
class ClusterIds(EntityIds):
    """Ids `(cluster, rank)`, sizes (G, M_fine); users and items are members of the same clusters.

    Attributes:
      centroids: f32[G,F], means of the clusters' unit vectors; anchors of the cluster tokens.
      distance: f32[n], cosine distance to the cluster's centroid; inf where the vector is zeros.
      joint: whether users and items share one ranking of a cluster, or each have their own.
    """

    centroids: np.ndarray
    distance: np.ndarray
    joint: bool

    @property
    def distinct_in_files(self) -> bool:
        """True: fitted ids are distinct, even those of users, who may later share an id."""
        return True

    def codes_of(self, vectors: np.ndarray, *, beside: EntityIds | None = None) -> np.ndarray:
        """The nearest centroid, and the rank of the vector's distance among the cluster's members.

        Zero vectors go to the smallest cluster, with the last rank.
        """
        rankings = self._rankings(beside)
        cluster, distance = self._nearest(vectors, rankings)
        rank = sum(ranking.nearer(cluster, distance) for ranking in rankings)
        return np.stack([cluster, np.minimum(rank, self.codes.sizes[1] - 1)], axis=1).astype(np.int32)

    def _unique_codes(self, vectors: np.ndarray, rows: np.ndarray, *, beside: EntityIds | None) -> np.ndarray:
        """The nearest centroid and the cluster's free ranks, the nearest vector first.

        Old ranks of the rows stay taken; spare ranks are for newcomers.
        """
        rankings = self._rankings(beside)
        cluster, distance = self._nearest(vectors, rankings)
        most = self.codes.sizes[1]
        rank = np.zeros(len(cluster), np.int64)
        for number in np.unique(cluster):
            newcomers = np.flatnonzero(cluster == number)
            taken = np.concatenate([ranking.ranks(number) for ranking in rankings])
            free = np.setdiff1d(np.arange(most), taken)
            if len(newcomers) > len(free):
                raise ValueError(
                    f"cluster {number} has {len(free)} of {most} ranks free and {len(newcomers)} newcomers; "
                    "fit the ids anew with a larger ids.spare"
                )
            rank[newcomers[np.argsort(distance[newcomers], kind="stable")]] = free[: len(newcomers)]
        return np.stack([cluster, rank], axis=1).astype(np.int32)

    def with_rows(self, rows: np.ndarray, values: np.ndarray) -> Self:
        """As of `EntityIds`; who gets another code stands behind those who were there when clusters were made."""
        grown = super().with_rows(rows, values)
        distance = np.full(len(grown.codes.values), np.inf, np.float32)
        before = len(self.distance)
        same = (grown.codes.values[:before] == self.codes.values).all(axis=1)
        distance[:before][same] = self.distance[same]
        return dataclasses.replace(grown, distance=distance)

    def codewords(self) -> list[np.ndarray | None]:
        """The clusters' centroids f32[G,F], and nothing for ranks."""
        return [self.centroids, None]

    def report(self) -> dict[str, Any]:
        """The number of clusters and their smallest and largest size, for JSON."""
        counts = np.bincount(self.codes.values[:, 0], minlength=self.codes.sizes[0])
        return {
            **super().report(),
            "clusters": len(counts),
            "smallest": int(counts.min()),
            "largest": int(counts.max()),
        }

    def _nearest(self, vectors: np.ndarray, rankings: Sequence[_Ranking]) -> tuple[np.ndarray, np.ndarray]:
        """Cluster i32[m] and cosine distance f32[m] of vectors f32[m,F]."""
        width = self.centroids.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise ValueError(f"vectors have shape {vectors.shape}, expected [m, {width}] as the centroids have")
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = (vectors / np.where(norm > 0, norm, 1)).astype(np.float32)
        cluster, distance = (
            np.asarray(part) for part in kmeans.nearest(jnp.asarray(units), jnp.asarray(self.centroids))
        )
        zero, members = norm[:, 0] == 0, sum(ranking.counts for ranking in rankings)
        return np.where(zero, np.argmin(members), cluster), np.where(zero, np.inf, distance)

    def _rankings(self, beside: EntityIds | None) -> list[_Ranking]:
        """The rankings to consider: the own and, if ranks are joint, the other entity's."""
        if self.joint and isinstance(beside, ClusterIds):
            return [self._ranking, beside._ranking]
        return [self._ranking]

    @functools.cached_property
    def _ranking(self) -> _Ranking:
        return _Ranking(self.codes.values, self.distance, self.codes.sizes[0])


class _Ranking:
    """Members of every cluster, sorted by distance, for fast ranking of many newcomers.

    Attributes:
      counts: i64[G], members of each cluster.
    """

    def __init__(self, values: np.ndarray, distance: np.ndarray, clusters: int) -> None:
        self._values = values
        self.counts = np.bincount(values[:, 0], minlength=clusters)
        self._begin = np.cumsum(self.counts) - self.counts
        self._places = np.sort(self._place(values[:, 0], distance))

    @staticmethod
    def _place(cluster: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Cluster and distance as one ascending number; distances are at most 2, inf stands behind as 3."""
        return cluster.astype(np.int64) * 4 + np.minimum(distance.astype(np.float64), 3.0)

    def nearer(self, cluster: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """How many members of a cluster are nearer to its centroid than this distance, i64[m]."""
        return np.searchsorted(self._places, self._place(cluster, distance)) - self._begin[cluster]

    def ranks(self, cluster: int) -> np.ndarray:
        """Ranks that members of a cluster hold."""
        return self._values[self._values[:, 0] == cluster, 1]


Grouping = Callable[..., kmeans.KMeans]


def fit_clusters(inputs: IdInputs, *, grouping: Grouping) -> dict[str, EntityIds]:
    """Clusters users and items together and ranks the members of each cluster; META ID, section 5.2, eq. (7).

    Ranks ascend with the cosine distance to the centroid, ties by row (users before items). Entities with a
    zero vector join the currently smallest cluster, after its members, in a seeded order. The number of rank tokens is
    the number of ranks in the largest cluster plus `ids.spare`.

    Args:
      inputs: vectors, key and config.ids are read.
      grouping: grouping(rows f32[n,F], IdConfig, key=) -> KMeans, none of the rows zeros.
    Raises:
      ValueError: fewer vectors that are not zeros than clusters, or DBSCAN finds no cluster.
    """
    config, key, entities = inputs.config.ids, inputs.key, inputs.entities
    parts = [inputs.rows(entity) for entity in entities]
    rows = np.concatenate(parts)
    bounds = np.cumsum([len(part) for part in parts])
    placed = np.flatnonzero((rows != 0).any(1))
    clustering = grouping(rows[placed], config, key=stream(key, "k-means"))
    values, distance = np.zeros((len(rows), 2), np.int32), np.full(len(rows), np.inf, np.float32)
    values[placed, 0], distance[placed] = clustering.assignment, clustering.distance
    joint = config.ranks == "joint"
    ranking = np.zeros(len(rows), np.int64) if joint else np.searchsorted(bounds, np.arange(len(rows)), side="right")
    values[placed, 1] = _rank(values[placed, 0], ranking[placed], distance[placed])
    unplaced = np.flatnonzero((rows == 0).all(1))
    unplaced = unplaced[np.asarray(jax.random.permutation(stream(key, "unknown"), len(unplaced)))]
    clusters = len(clustering.centroids)
    for number in np.unique(ranking):
        counts = np.bincount(values[placed[ranking[placed] == number], 0], minlength=clusters)
        late = unplaced[ranking[unplaced] == number]
        values[late] = fill_smallest(counts, len(late))
    sizes = (clusters, int(values[:, 1].max()) + 1 + config.spare)
    return {
        entity: ClusterIds(
            entity, Codes(own, sizes, LEVELS), inputs.unique(entity), np.asarray(clustering.centroids), far, joint
        )
        for entity, own, far in zip(entities, np.split(values, bounds[:-1]), np.split(distance, bounds[:-1]))
    }


def _rank(cluster: np.ndarray, ranking: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Place of each row by distance within its cluster and ranking, ties by row, i64[n]."""
    order = np.lexsort((distance, ranking, cluster))
    key = (cluster.astype(np.int64) * (ranking.max(initial=0) + 1) + ranking)[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    rank = np.empty(len(key), np.int64)
    rank[order] = np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key)))
    return rank


def fill_smallest(counts: np.ndarray, n: int) -> np.ndarray:
    """(cluster, rank) of n entities, each added to the currently smallest cluster, the lowest number of ties."""
    heap = [(int(count), cluster) for cluster, count in enumerate(counts)]
    heapq.heapify(heap)
    codes = np.empty((n, 2), np.int32)
    for i in range(n):
        count, cluster = heap[0]
        codes[i] = cluster, count
        heapq.heapreplace(heap, (count + 1, cluster))
    return codes


def _clustered(label: str, grouping: Grouping) -> Kind:
    return Kind(
        label=label,
        fit=functools.partial(fit_clusters, grouping=grouping),
        load=ClusterIds.load,
        activity=f"clustering users and items into ids ({label})",
        shared_clusters=True,
        length=lambda config: len(LEVELS),
    )


META_ID = _clustered("META ID", groupings.by_kmeans)
SPECTRAL = _clustered("spectral META ID", groupings.by_spectrum)
DBSCAN = _clustered("DBSCAN META ID", groupings.by_density)
