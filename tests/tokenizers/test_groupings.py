"""META ID's ids from other clusterings."""

import pathlib

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jaxrec.config import Config, IdConfig
from jaxrec.tokenizers import groupings
from jaxrec.tokenizers.ids import fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.types import Histories, Vectors

KEY = jax.random.key(0)
GROUPINGS = {"meta_id": groupings.by_kmeans, "spectral": groupings.by_spectrum, "dbscan": groupings.by_density}


def planted(n: int = 90, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around three directions."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    rows = np.eye(6)[label] + noise * rng.normal(size=(n, 6))
    return (rows * rng.uniform(0.5, 2, (n, 1))).astype(np.float32), label


@pytest.mark.parametrize("kind", ["meta_id", "spectral", "dbscan"])
def test_planted_directions_are_found(kind: str) -> None:
    rows, label = planted()
    clustering = GROUPINGS[kind](rows, IdConfig(clusters=3), key=KEY)
    assert adjusted_rand_score(clustering.assignment, label) > 0.95
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for number, centroid in enumerate(clustering.centroids):
        if kind != "dbscan":  # there noise joined later
            np.testing.assert_allclose(centroid, units[clustering.assignment == number].mean(0), atol=1e-5)
        cosine = units @ centroid / np.linalg.norm(centroid)
        members = clustering.assignment == number
        np.testing.assert_allclose(clustering.distance[members], 1 - cosine[members], atol=1e-5)
    order = np.random.default_rng(1).permutation(len(rows))
    moved = GROUPINGS[kind](rows[order], IdConfig(clusters=3), key=KEY)
    assert adjusted_rand_score(clustering.assignment[order], moved.assignment) > 0.95


def test_density_by_hand() -> None:
    # Angles in degrees: three within 5 of each other, three within 5, one far from all.
    angles = np.radians([0, 4, 8, 90, 94, 98, 200])
    units = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    near = 1 - np.cos(np.radians(5))
    assert groupings.dbscan_labels(units, 9, 3, near).tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert groupings.dbscan_labels(units, 2, 3).max() == 1  # the distance was found
    clustering = groupings.by_density(units, IdConfig(clusters=2, neighbours=3, eps=near), key=KEY)
    assert clustering.assignment.tolist() == [0, 0, 0, 1, 1, 1, 1]  # 200 is nearer to 94 than to 4
    with pytest.raises(ValueError, match=r"finds no cluster in these vectors; raise ids\.eps"):
        groupings.dbscan_labels(units, 2, 3, 1e-6)


@pytest.mark.parametrize("kind", ["spectral", "dbscan"])
def test_ids_are_unique_and_come_back(kind: str, tmp_path: pathlib.Path) -> None:
    rows, _ = planted(100, noise=0.3)
    item = rows[60:].copy()
    item[3] = 0
    config = IdConfig(kind=kind, clusters=4, spare=9)
    no_events = Histories(np.zeros(61, np.int64), np.zeros(0, np.int32), 40)
    ids = fit_ids(IdInputs(Vectors(rows[:60], item), no_events, Config(name="test", ids=config), KEY))
    both = np.concatenate([ids.users.codes.values, ids.items.codes.values])
    assert len(np.unique(both, axis=0)) == 100
    centroids, _ = ids.items.codewords()
    assert centroids is not None
    assert ids.items.codes.sizes[0] == len(centroids)
    assert ids.items.report()["clusters"] == ids.users.report()["clusters"] == len(centroids)
    names = np.arange(60).astype(str), np.arange(40).astype(str)
    ids.save(tmp_path / "ids", *names)
    again = load_ids(tmp_path / "ids", config, *names)
    np.testing.assert_array_equal(again.items.codes.values, ids.items.codes.values)
    new = planted(5, seed=7)[0]
    fresh = again.items.new_codes(new, np.arange(40, 45), beside=again.users)
    assert not set(map(tuple, fresh.tolist())) & set(map(tuple, both.tolist()))


def test_too_many_clusters_are_told() -> None:
    with pytest.raises(ValueError, match="clusters=200 exceeds the 90 rows"):
        groupings.by_spectrum(planted()[0], IdConfig(clusters=200), key=KEY)
