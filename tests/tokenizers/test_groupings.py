"""META ID's ids from other clusterings."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jaxrec.config import IdConfig
from jaxrec.tokenizers import groupings
from jaxrec.tokenizers.meta_id import MetaIds
from jaxrec.types import Vectors

KEY = jax.random.key(0)


def planted(n: int = 90, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around three directions."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    rows = np.eye(6)[label] + noise * rng.normal(size=(n, 6))
    return (rows * rng.uniform(0.5, 2, (n, 1))).astype(np.float32), label


@pytest.mark.parametrize("kind", ["meta_id", "spectral", "dbscan"])
def test_planted_directions_are_found(kind: str) -> None:
    rows, label = planted()
    found = groupings.group(rows, IdConfig(kind=kind, clusters=3), key=KEY)
    assert adjusted_rand_score(found.assignment, label) > 0.95
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for number, centroid in enumerate(found.centroids):
        if kind != "dbscan":  # there noise joined later
            np.testing.assert_allclose(centroid, units[found.assignment == number].mean(0), atol=1e-5)
        cosine = units @ centroid / np.linalg.norm(centroid)
        mine = found.assignment == number
        np.testing.assert_allclose(found.distance[mine], 1 - cosine[mine], atol=1e-5)
    order = np.random.default_rng(1).permutation(len(rows))
    moved = groupings.group(rows[order], IdConfig(kind=kind, clusters=3), key=KEY)
    assert adjusted_rand_score(found.assignment[order], moved.assignment) > 0.95


def test_density_by_hand() -> None:
    # Angles in degrees: three within 5 of each other, three within 5, one far from all.
    angles = np.radians([0, 4, 8, 90, 94, 98, 200])
    units = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    near = 1 - np.cos(np.radians(5))
    assert groupings.density(units, 9, 3, near).tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert groupings.density(units, 2, 3).max() == 1  # the distance was found
    found = groupings.group(units, IdConfig(kind="dbscan", clusters=2, neighbours=3, eps=near), key=KEY)
    assert found.assignment.tolist() == [0, 0, 0, 1, 1, 1, 1]  # 200 is nearer to 94 than to 4
    with pytest.raises(ValueError, match=r"finds no cluster in these vectors; raise ids\.eps"):
        groupings.density(units, 2, 3, 1e-6)


@pytest.mark.parametrize("kind", ["spectral", "dbscan"])
def test_ids_are_unique_and_come_back(kind: str, tmp_path: pathlib.Path) -> None:
    rows, _ = planted(100, noise=0.3)
    item = rows[60:].copy()
    item[3] = 0
    config = IdConfig(kind=kind, clusters=4, spare=9)
    ids = MetaIds.fit(Vectors(rows[:60], item), config, key=KEY)
    both = np.concatenate([ids.users.values, ids.items.values])
    assert len(np.unique(both, axis=0)) == 100
    assert ids.items.sizes[0] == len(ids.centroids)
    assert ids.report()["clusters"] == len(ids.centroids)
    names = np.arange(60).astype(str), np.arange(40).astype(str)
    ids.save(tmp_path / "ids", *names)
    again = MetaIds.load(tmp_path / "ids", *names)
    np.testing.assert_array_equal(again.items.values, ids.items.values)
    new = planted(5, seed=7)[0]
    fresh = again.encode(new, "item", unique=True)
    assert not set(map(tuple, fresh.tolist())) & set(map(tuple, both.tolist()))


def test_too_many_clusters_are_told() -> None:
    with pytest.raises(ValueError, match="clusters=200 exceeds the 90 rows"):
        groupings.group(planted()[0], dataclasses.replace(IdConfig(kind="spectral"), clusters=200), key=KEY)
