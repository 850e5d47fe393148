"""Cosine K-means against a NumPy loop and scikit-learn."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.tokenizers.quantizers import kmeans


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def blobs(n: int = 600, centers: int = 8, width: int = 10, spread: float = 0.6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(centers, width))[rng.integers(0, centers, n)] + spread * rng.normal(size=(n, width))
    ).astype(np.float32)


def cost(units: np.ndarray, assignment: np.ndarray) -> float:
    """Sum of cosine distances to the directions of the clusters' means: n - sum over clusters of |sum of rows|."""
    sums = [np.linalg.norm(units[assignment == g].astype(np.float64).sum(0)) for g in np.unique(assignment)]
    return len(units) - float(np.sum(sums))


def test_by_hand() -> None:
    # Two directions, 90 degrees apart; lengths don't count.
    x = np.array([[1, 0], [5, 0.1], [0, 2], [0.1, 9]], np.float32)
    actual = kmeans.fit_kmeans(x, 2, key=jax.random.key(0))
    assert actual.assignment[0] == actual.assignment[1] != actual.assignment[2] == actual.assignment[3]
    np.testing.assert_allclose(actual.centroids[actual.assignment[0]], unit(x)[:2].mean(0), atol=1e-6)


def test_lloyd_equals_a_numpy_loop_from_the_same_centres() -> None:
    units = unit(blobs())
    centers = units[:7]
    actual = kmeans.improve(jnp.asarray(units), jnp.asarray(centers), iterations=100)
    assignment = None
    while True:
        new = np.argmax(units @ unit(centers).T, axis=1)
        if assignment is not None and (new == assignment).all():
            break
        assignment = new
        centers = np.stack([units[assignment == g].mean(0) for g in range(7)])
    np.testing.assert_array_equal(actual.assignment, assignment)
    np.testing.assert_allclose(actual.centroids, centers, atol=1e-5)
    np.testing.assert_allclose(actual.distance.sum(), cost(units, assignment), rtol=1e-4)


def test_no_worse_than_scikit_learn() -> None:
    """Mean ratio over data sets at most 1.003; single ones differ by 1% either way by the luck of the seeds."""
    cluster, threadpoolctl = pytest.importorskip("sklearn.cluster"), pytest.importorskip("threadpoolctl")
    ratios = []
    for number in range(5):
        units = unit(blobs(1000, 25, spread=0.7, seed=number))
        with threadpoolctl.threadpool_limits(1):  # its threads wait for each other for seconds on a busy machine
            theirs = cluster.KMeans(20, n_init=4, random_state=number).fit(units).labels_
        ours = kmeans.fit_kmeans(units, 20, restarts=4, iterations=100, key=jax.random.key(number)).assignment
        ratios.append(cost(units, ours) / cost(units, theirs))
    assert np.mean(ratios) <= 1.003


def test_restarts_only_help() -> None:
    x = blobs(400, 30, seed=3)
    costs = [cost(unit(x), kmeans.fit_kmeans(x, 12, restarts=r, key=jax.random.key(0)).assignment) for r in (1, 2, 6)]
    assert costs[0] >= costs[1] >= costs[2]


def test_empty_clusters_are_refilled() -> None:
    units = unit(blobs(200))
    centers = np.tile(units[:1], (5, 1))  # all ties go to the first: four clusters begin empty
    actual = kmeans.improve(jnp.asarray(units), jnp.asarray(centers), iterations=50)
    assert len(np.unique(actual.assignment)) == 5


def test_more_clusters_than_distinct_rows_ends() -> None:
    actual = kmeans.fit_kmeans(np.ones((6, 3), np.float32), 4, key=jax.random.key(0))
    assert np.isfinite(actual.centroids).all()
    np.testing.assert_allclose(actual.distance, 0, atol=1e-6)


def test_rows_in_another_order_give_the_same_clusters() -> None:
    units, order = unit(blobs(300)), np.random.default_rng(1).permutation(300)
    straight = kmeans.improve(jnp.asarray(units), jnp.asarray(units[:6]), iterations=50)
    turned = kmeans.improve(jnp.asarray(units[order]), jnp.asarray(units[:6]), iterations=50)
    np.testing.assert_array_equal(np.asarray(straight.assignment)[order], turned.assignment)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    units, centers = jnp.asarray(unit(blobs(101))), jnp.asarray(unit(blobs(7, seed=5)))
    whole = kmeans.nearest(units, centers)
    monkeypatch.setattr(kmeans, "BLOCK_SCORES", 70)
    blocked = jax.jit(lambda u, c: kmeans.nearest.__wrapped__(u, c))(units, centers)
    np.testing.assert_array_equal(whole[0], blocked[0])
    np.testing.assert_allclose(whole[1], blocked[1], atol=1e-6)


def test_seeds_are_rows_and_spread() -> None:
    units = unit(np.repeat(np.eye(5, dtype=np.float32), 20, axis=0))
    for number in range(5):
        seeds = np.asarray(kmeans.seed(jnp.asarray(units), 5, key=jax.random.key(number)))
        assert sorted(seeds.argmax(1)) == [0, 1, 2, 3, 4], "k-means++ never takes a second seed at distance 0"


def test_one_trace_and_the_same_without_jit() -> None:
    units = jnp.asarray(unit(blobs(60)))
    traced = jax.jit(chex.assert_max_traces(lambda u, c: kmeans.improve(u, c, iterations=5), n=1))
    jitted = traced(units, units[:3])
    np.testing.assert_array_equal(jitted.assignment, traced(units, units[:3]).assignment)
    with jax.disable_jit():
        plain = kmeans.improve(units, units[:3], iterations=5)
    np.testing.assert_array_equal(jitted.assignment, plain.assignment)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="clusters=9 exceeds the 4 rows"):
        kmeans.fit_kmeans(np.ones((4, 2)), 9, key=jax.random.key(0))
    with pytest.raises(ValueError, match="row 1 has no direction"):
        kmeans.fit_kmeans(np.array([[1.0, 0], [0, 0], [1, 1]]), 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="restarts=0"):
        kmeans.fit_kmeans(np.ones((4, 2)), 2, restarts=0, key=jax.random.key(0))
