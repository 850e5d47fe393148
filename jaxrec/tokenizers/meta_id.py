"""META ID's tokenizer: vectors of users and items to `<Item><CTi><CIj>`, cluster and rank inside the cluster."""

from __future__ import annotations

import dataclasses
import functools
import heapq
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config import IdConfig
from jaxrec.keys import stream
from jaxrec.tokenizers.groupings import group as grouped
from jaxrec.tokenizers.id_files import read_codes, write_codes
from jaxrec.tokenizers.quantizers import kmeans
from jaxrec.types import Codes, Vectors

KINDS = ("user", "item")
LEVELS = ("<CT{}>", "<CI{}>")


@dataclasses.dataclass(frozen=True)
class MetaIds:
    """Ids of users and items, and what it takes to give one to somebody new.

    Attributes:
      users: values i32[U, 2] = (cluster, rank), sizes (G, M_fine).
      items: i32[I, 2], the same sizes. Rows are unique within users and within items.
      centroids: f32[G, F], means of the clusters' unit vectors; anchors of the cluster tokens.
      user_distance: f32[U], cosine distance to the cluster's centroid; inf where the vector is zeros.
      item_distance: f32[I], likewise.
      ranks: "joint" where users and items share one ranking of a cluster, "per_kind" where each has its own.
    """

    users: Codes
    items: Codes
    centroids: np.ndarray
    user_distance: np.ndarray
    item_distance: np.ndarray
    ranks: str = "joint"

    @classmethod
    def fit(cls, vectors: Vectors, config: IdConfig, *, key: jax.Array) -> MetaIds:
        """Clusters users and items together and ranks the members of each cluster; META ID, section 5.2, eq. (7).

        Ranks ascend with the cosine distance to the centroid, ties by row (users before items). An entity whose
        vector is zeros, which no training event touched, joins the cluster that has the fewest members by then,
        behind all of them, in a seeded order. Rank tokens are as many as the largest cluster has ranks, plus
        `config.spare`.

        Args:
          vectors: user f32[U, F] and item f32[I, F].
          config: ranks and spare are read, and by `groupings.group` what it needs to cluster.
          key: random key.
        Raises:
          ValueError: fewer vectors that are not zeros than clusters, or DBSCAN finds no cluster.
        """
        rows = np.concatenate([vectors.user, vectors.item]).astype(np.float32)
        kind = np.repeat([0, 1], [len(vectors.user), len(vectors.item)])
        known = np.flatnonzero((rows != 0).any(1))
        found = grouped(rows[known], config, key=stream(key, "k-means"))
        clusters = len(found.centroids)
        codes = np.zeros((len(rows), 2), np.int32)
        distance = np.full(len(rows), np.inf, np.float32)
        codes[known, 0], distance[known] = found.assignment, found.distance
        group = kind if config.ranks == "per_kind" else np.zeros_like(kind)
        codes[known, 1] = _rank(codes[known, 0], group[known], distance[known])
        unknown = np.flatnonzero((rows == 0).all(1))
        unknown = unknown[np.asarray(jax.random.permutation(stream(key, "unknown"), len(unknown)))]
        for number in np.unique(group):
            counts = np.bincount(codes[known[group[known] == number], 0], minlength=clusters)
            late = unknown[group[unknown] == number]
            codes[late] = fill_smallest(counts, len(late))
        sizes = (clusters, int(codes[:, 1].max()) + 1 + config.spare)
        n_users = len(vectors.user)
        return cls(
            Codes(codes[:n_users], sizes, LEVELS),
            Codes(codes[n_users:], sizes, LEVELS),
            np.asarray(found.centroids),
            distance[:n_users],
            distance[n_users:],
            config.ranks,
        )

    def encode(self, new: np.ndarray, kind: str, *, unique: bool, instead: np.ndarray | None = None) -> np.ndarray:
        """Codes for vectors that were not there when the ids were made; nothing is retrained or changed.

        The cluster is that of the nearest centroid. With `unique` the new rows get ranks that are free, the nearest
        of them first: encode all newcomers in one call. Without, a row gets the rank at which its distance
        stands among the cluster's members, so that equal vectors get equal codes: for user ids that are made
        from a history, which may coincide. Zeros go to the cluster with the fewest members, behind them.

        Args:
          new: vectors, f32[m, F].
          kind: "user" or "item", whose ranks count under "per_kind".
          unique: whether codes must differ from all others of this kind.
          instead: i64[m], rows whose ids these will replace. What they hold stays taken: spare ranks are for newcomers.
        Returns:
          i32[m, 2], below `sizes`.
        Raises:
          ValueError: another width or kind, or a cluster has no free rank left.
        """
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
        if new.ndim != 2 or new.shape[1] != self.centroids.shape[1]:
            raise ValueError(f"new has shape {new.shape}, wanted [m, {self.centroids.shape[1]}] as the centroids have")
        norm = np.linalg.norm(new, axis=1, keepdims=True)
        units = (new / np.where(norm > 0, norm, 1)).astype(np.float32)
        cluster, distance = (
            np.asarray(part) for part in kmeans.nearest(jnp.asarray(units), jnp.asarray(self.centroids))
        )
        members = self._members(kind)
        zero = norm[:, 0] == 0
        cluster, distance = np.where(zero, np.argmin(members.counts), cluster), np.where(zero, np.inf, distance)
        rank = self._free_ranks(cluster, distance, members) if unique else members.insertion(cluster, distance)
        return np.stack([cluster, np.minimum(rank, self.items.sizes[1] - 1)], axis=1).astype(np.int32)

    def with_rows(self, kind: str, rows: np.ndarray, values: np.ndarray) -> MetaIds:
        """A copy in which some entities have the codes that `encode` gave them.

        Args:
          kind: "user" or "item".
          rows: i64[m], whose codes; rows behind the last are new entities.
          values: i32[m, 2].
        """
        codes, distance = (self.users, self.user_distance) if kind == "user" else (self.items, self.item_distance)
        more = max(len(codes.values), int(rows.max(initial=-1)) + 1) - len(codes.values)
        table = np.concatenate([codes.values, np.zeros((more, 2), np.int32)])
        changed = rows[(table[rows] != values).any(axis=1)]
        table[rows] = values
        codes = dataclasses.replace(codes, values=table)
        distance = np.concatenate([distance, np.full(more, np.inf, np.float32)])
        distance[changed] = np.inf  # behind those that were there when the clusters were made
        if kind == "user":
            return dataclasses.replace(self, users=codes, user_distance=distance)
        return dataclasses.replace(self, items=codes, item_distance=distance)

    def codewords(self, kind: str) -> list[np.ndarray | None]:
        """What each level's tokens stand for: the clusters' centroids f32[G, F], and nothing for ranks."""
        return [self.centroids, None]

    def report(self) -> dict[str, Any]:
        """How many clusters there are and how even they are, for JSON."""
        counts = np.bincount(
            np.concatenate([self.users.values, self.items.values])[:, 0], minlength=self.items.sizes[0]
        )
        return {"clusters": len(counts), "smallest": int(counts.min()), "largest": int(counts.max())}

    def _members(self, kind: str) -> _Members:
        return self._members_of["both" if self.ranks == "joint" else kind]

    @functools.cached_property
    def _members_of(self) -> dict[str, _Members]:
        clusters = self.items.sizes[0]
        if self.ranks == "joint":
            codes = np.concatenate([self.users.values, self.items.values])
            return {"both": _Members(codes, np.concatenate([self.user_distance, self.item_distance]), clusters)}
        return {
            "user": _Members(self.users.values, self.user_distance, clusters),
            "item": _Members(self.items.values, self.item_distance, clusters),
        }

    def _free_ranks(self, cluster: np.ndarray, distance: np.ndarray, members: _Members) -> np.ndarray:
        most = self.items.sizes[1]
        rank = np.zeros(len(cluster), np.int64)
        for number in np.unique(cluster):
            wanting = np.flatnonzero(cluster == number)
            free = np.setdiff1d(np.arange(most), members.codes[members.codes[:, 0] == number, 1])
            if len(wanting) > len(free):
                raise ValueError(
                    f"cluster {number} has {len(free)} of {most} ranks free and {len(wanting)} newcomers; "
                    "fit the ids anew with a larger ids.spare"
                )
            rank[wanting[np.argsort(distance[wanting], kind="stable")]] = free[: len(wanting)]
        return rank

    def save(self, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> None:
        """Writes users.txt, items.txt (readable, may be edited) and centroids.npz; the folder appears whole or not."""
        folder = pathlib.Path(folder)
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        write_codes(part / "users.txt", self.users, user_names, "<User>")
        write_codes(part / "items.txt", self.items, item_names, "<Item>")
        np.savez(
            part / "centroids.npz",
            centroids=self.centroids,
            user_distance=self.user_distance,
            item_distance=self.item_distance,
            sizes=np.array(self.items.sizes),
            ranks=self.ranks,
        )
        part.rename(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], user_names: np.ndarray, item_names: np.ndarray) -> MetaIds:
        """Reads what `save` wrote, with the text files' edits; an edited entity keeps its distance.

        Raises:
          ValueError: a line can't be understood, a name or id is missing, unknown or double, or a code is not
            below `sizes`; names the file and the line.
        """
        folder = pathlib.Path(folder)
        with np.load(folder / "centroids.npz") as kept:
            clusters, fine = kept["sizes"].tolist()
            users = read_codes(folder / "users.txt", user_names, "<User>", LEVELS, sizes=(clusters, fine))
            items = read_codes(folder / "items.txt", item_names, "<Item>", LEVELS, sizes=(clusters, fine))
            return cls(
                users, items, kept["centroids"], kept["user_distance"], kept["item_distance"], str(kept["ranks"])
            )


class _Members:
    """Members of every cluster, sorted by distance, so that a million newcomers find their place at once."""

    def __init__(self, codes: np.ndarray, distance: np.ndarray, clusters: int) -> None:
        self.codes = codes
        self.counts = np.bincount(codes[:, 0], minlength=clusters)
        self._begin = np.cumsum(self.counts) - self.counts
        self._places = np.sort(self._place(codes[:, 0], distance))

    @staticmethod
    def _place(cluster: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Cluster and distance as one ascending number; distances are at most 2, zeros' inf stands behind as 3."""
        return cluster.astype(np.int64) * 4 + np.minimum(distance.astype(np.float64), 3.0)

    def insertion(self, cluster: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """How many members of the cluster are nearer to its centroid."""
        return np.searchsorted(self._places, self._place(cluster, distance)) - self._begin[cluster]


def _rank(cluster: np.ndarray, group: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Place of each row by distance within its cluster and group, ties by row, i64[n]."""
    order = np.lexsort((distance, group, cluster))
    key = (cluster.astype(np.int64) * (group.max(initial=0) + 1) + group)[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    rank = np.empty(len(key), np.int64)
    rank[order] = np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key)))
    return rank


def fill_smallest(counts: np.ndarray, n: int) -> np.ndarray:
    """(cluster, rank) of n latecomers, each to the cluster with the fewest members by then, the lowest of equals."""
    heap = [(int(count), cluster) for cluster, count in enumerate(counts)]
    heapq.heapify(heap)
    codes = np.empty((n, 2), np.int32)
    for i in range(n):
        count, cluster = heap[0]
        codes[i] = cluster, count
        heapq.heapreplace(heap, (count + 1, cluster))
    return codes
