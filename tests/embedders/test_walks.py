"""The embedder on a planted graph: clusters are found, a run is a function of its seed, and is kept in its folder."""

import pathlib

import jax
import numpy as np
import pytest

from jaxrec.config import SkipGramConfig, WalkConfig
from jaxrec.data.graph import bipartite_graph
from jaxrec.embedders.walks import WalkSettings, fit_walks, negatives_table
from jaxrec.types import Histories

WALKS = WalkConfig(rounds=16, length=16)
SKIPGRAM = SkipGramConfig(dim=16, epochs=3, batch_walks=32, learning_rate=0.05)
CLUSTERS = 4


@pytest.fixture(scope="module")
def planted() -> Histories:
    """80 users and 40 items in 4 clusters, 90% of events inside a cluster; user 80 and item 40 have none."""
    rng = np.random.default_rng(0)
    events = []
    for user in range(80):
        own = 10 * (user % CLUSTERS) + rng.integers(0, 10, 8)
        events.append(np.where(rng.random(8) < 0.1, rng.integers(0, 40, 8), own))
    offsets = np.append(np.arange(81) * 8, 640)
    return Histories(offsets, np.concatenate(events).astype(np.int32), 41)


def same_cluster(items: np.ndarray) -> float:
    """Share of the 5 nearest other items that are of the item's own planted cluster."""
    units = items / np.linalg.norm(items, axis=1, keepdims=True)
    scores = units @ units.T - 9 * np.eye(len(units))
    cluster = np.arange(len(items)) // 10
    return float((cluster[np.argsort(-scores, axis=1)[:, :5]] == cluster[:, None]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["banded", "pairs"])
def test_planted_clusters_are_neighbours(planted: Histories, form) -> None:
    vectors = fit_walks(
        planted, WalkSettings(WALKS, SkipGramConfig(**{**vars(SKIPGRAM), "form": form})), seed=0
    ).vectors
    assert vectors.user.shape == (81, 16)
    assert vectors.item.shape == (41, 16)
    assert vectors.item.dtype == np.float32
    assert same_cluster(vectors.item[:40]) > 0.9
    assert not vectors.user[80].any()
    assert not vectors.item[40].any()


def test_a_folder_changes_nothing_and_a_finished_run_is_read_back(planted: Histories, tmp_path: pathlib.Path) -> None:
    settings = WalkSettings(WALKS, SKIPGRAM)
    whole = fit_walks(planted, settings, seed=1).vectors
    kept = fit_walks(planted, settings, seed=1, folder=tmp_path).vectors
    again = fit_walks(planted, settings, seed=1, folder=tmp_path).vectors
    for vectors in (kept, again):
        np.testing.assert_array_equal(vectors.item, whole.item)
        np.testing.assert_array_equal(vectors.user, whole.user)


def test_another_seed_is_another_run(planted: Histories) -> None:
    settings = WalkSettings(WalkConfig(rounds=1, length=8), SkipGramConfig(dim=4, epochs=1, batch_walks=64))
    one, two = (fit_walks(planted, settings, seed=s).vectors for s in (0, 1))
    assert (one.item[:40] != two.item[:40]).any()


def test_noise_leaves_out_what_no_walk_meets(planted: Histories) -> None:
    table = negatives_table(bipartite_graph(planted), 16, key=jax.random.key(0))
    steps = np.diff(table.astype(np.int64), prepend=0)
    assert steps[80] == 0
    assert (steps[:80] > 0).all()


def test_nothing_to_walk_on() -> None:
    with pytest.raises(ValueError, match="no event to walk on"):
        fit_walks(Histories(np.zeros(3, np.int64), np.zeros(0, np.int32), 4), WalkSettings(WALKS, SKIPGRAM), seed=0)
