"""Section "What the ids say": a map of item representations, and their similarities beside the true ones."""

from __future__ import annotations

import numpy as np
import scipy.cluster.hierarchy
import scipy.spatial.distance
from sklearn.manifold import TSNE

from jaxrec.evaluate.memorization import RatingSimilarity
from jaxrec.keys import generator
from jaxrec.report.charts.heatmap import heatmap
from jaxrec.report.charts.point_map import point_map
from jaxrec.report.formatting import decimals, number
from jaxrec.report.page import Figure, Section, render
from jaxrec.system.id_scores import representations
from jaxrec.system.system import System
from jaxrec.tokenizers.registry import id_kind
from jaxrec.tokenizers.vocabulary import DIGIT

MAP_ITEMS = 1000
"""Items in the map at most: t-SNE's time grows with them."""
HEATMAP_ITEMS = 50
"""Items in the heatmaps at most, as in META ID's figure 1."""
CLUSTERS, MEMBERS = 8, 4
"""Clusters whose members are listed at most, and members of each."""
NAME_LENGTH = 28
"""Letters of a title in the tooltips of a heatmap."""

Clusters = list[tuple[str, int, list[str]]]
"""Name, how many items, and the titles of those nearest to its centre."""


def representations_section(system: System) -> Section:
    """The map, what the largest clusters hold, and the heatmaps."""
    vectors = representations(system)["items"][: system.data.n_items]
    named = id_kind(system.config.ids.kind).shared_clusters and system.data.item_titles is not None
    content = render(
        "representations.html",
        heatmap_items=HEATMAP_ITEMS,
        map=_item_map(system, vectors),
        clusters=_largest_clusters(system) if named else [],
        heatmaps=_heatmaps(system, vectors),
    )
    return Section("alike", "What the ids say", content)


def _largest_clusters(system: System) -> Clusters:
    codes, titles = system.ids.items.codes, system.data.titles()
    cluster, distance_rank = codes.values[:, 0], codes.values[:, 1]
    sizes = np.bincount(cluster, minlength=codes.sizes[0])
    clusters = []
    for one in np.argsort(-sizes, kind="stable")[:CLUSTERS]:
        members = np.flatnonzero(cluster == one)
        nearest = members[np.argsort(distance_rank[members], kind="stable")][:MEMBERS]
        clusters.append((codes.levels[0].format(one), int(sizes[one]), [str(titles[item]) for item in nearest]))
    return clusters


def _item_map(system: System, vectors: np.ndarray) -> Figure:
    """Items' vectors f32[I,D] in two dimensions; no chart where fewer than ten items or equal ones would be drawn."""
    title = "Item ids, by t-SNE"
    order = generator(system.config.seed, "items of the map").permutation(len(vectors))
    items = np.sort(order[:MAP_ITEMS])
    if len(items) < 10 or not np.ptp(vectors[items], axis=0).any():
        return Figure(title, None)
    perplexity = min(30.0, (len(items) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=system.config.seed)
    places = tsne.fit_transform(vectors[items].astype(np.float64))
    codes, titles = system.ids.items.codes, system.data.titles()
    tooltips = [f"{titles[item]} {system.item_name(item)}" for item in items]
    groups = codes.values[items, 0].tolist()
    chart = point_map(places, groups, tooltips, label="Item representations in two dimensions")
    group = "the first digit" if codes.levels[0] == DIGIT else codes.levels[0].format("·")
    shown = "All" if len(items) == len(vectors) else f"{number(len(items))} of {number(len(vectors))}"
    return Figure(title, chart, note=f"{shown} items; a colour for each {group}.")


def _heatmaps(system: System, vectors: np.ndarray) -> list[Figure]:
    """Adjusted cosines of ratings and cosines of vectors f32[I,D]; empty where fewer than three items have ratings."""
    truth = RatingSimilarity.of(system.split.train, "item")
    rows = _rows_met_together(system, truth)
    if len(rows) < 3:
        return []
    true = np.stack([truth.between(slice(row, row + 1))[0, rows] for row in rows])
    chosen = vectors[truth.rows[rows]].astype(np.float64)
    chosen = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
    cosine = chosen @ chosen.T
    order = _tree_order(true)
    names = [str(system.data.titles()[item])[:NAME_LENGTH] for item in truth.rows[rows][order]]
    pairs = np.triu_indices(len(rows), 1)
    varies = min(np.ptp(true[pairs]), np.ptp(cosine[pairs])) > 0
    correlation = decimals(np.corrcoef(true[pairs], cosine[pairs])[0, 1] if varies else None, 2)
    events = "events, of which this data has no ratings" if system.split.train.ratings is None else "ratings"
    true_title, cosine_title, of_items = "True similarity", "Similarity of the ids", f"of {len(rows)} items"
    true_chart = heatmap(true[np.ix_(order, order)], names, label=f"{true_title} {of_items}")
    cosine_chart = heatmap(cosine[np.ix_(order, order)], names, label=f"{cosine_title} {of_items}")
    return [
        Figure(true_title, true_chart, note=f"Adjusted cosine of the training {events}."),
        Figure(cosine_title, cosine_chart, note=f"Cosine; correlation with the truth {correlation}."),
    ]


def _tree_order(similarity: np.ndarray) -> np.ndarray:
    """The leaves of a tree of similarities f[n,n] from left to right, so that similar rows are neighbours, i32[n]."""
    distance = np.clip(1 - similarity, 0, None).astype(np.float64)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = scipy.spatial.distance.squareform(distance, checks=False)
    return scipy.cluster.hierarchy.leaves_list(scipy.cluster.hierarchy.linkage(condensed, "average"))


def _rows_met_together(system: System, truth: RatingSimilarity) -> np.ndarray:
    """Rows of the truth that belong to items of a few users, drawn by the seed, at most HEATMAP_ITEMS.

    The users have five training events or more; where nobody has as many, all users may be drawn.
    """
    train = system.split.train
    users = np.flatnonzero(np.diff(train.offsets) >= 5)
    users = users if len(users) else np.arange(train.n_users)
    users = generator(system.config.seed, "users of the heatmaps").permutation(users)[: 2 * HEATMAP_ITEMS]
    items = np.concatenate([train.of(int(user)) for user in users] or [np.zeros(0, np.int32)])
    row_of_item = np.full(train.n_items, -1)
    row_of_item[truth.rows] = np.arange(len(truth.rows))
    rows = row_of_item[items]
    different, first = np.unique(rows[rows >= 0], return_index=True)
    return np.sort(different[np.argsort(first)][:HEATMAP_ITEMS])
