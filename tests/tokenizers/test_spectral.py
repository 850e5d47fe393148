"""Spectral clustering against scikit-learn and against worlds whose clusters are known."""

import jax
import numpy as np
import pytest
import scipy.sparse
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from jaxrec.tokenizers import spectral
from jaxrec.types import Histories

KEY = jax.random.key(0)


def blobs(n: int = 90, centers: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, centers, n)
    middle = 4 * rng.normal(size=(centers, 8))
    return (middle[label] + rng.normal(size=(n, 8))).astype(np.float32), label


def blocks(sizes: list[int], inside: float = 5.0, across: float = 0.2) -> np.ndarray:
    """Weights of a graph in which nodes of a block are linked more than others."""
    label = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.default_rng(1).uniform(0.8, 1.2, (len(label), len(label)))
    weights = np.where(label[:, None] == label, inside, across) * (noise + noise.T) / 2
    np.fill_diagonal(weights, 0)
    return weights


def test_neighbours_are_the_nearest_by_cosine() -> None:
    rows, _ = blobs(20)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = units @ units.T
    chosen = np.zeros((20, 20))
    for i in range(20):
        order = [j for j in np.argsort(-cosine[i]) if j != i][:4]
        chosen[i, order] = 1
    np.testing.assert_array_equal(spectral.neighbour_graph(rows, 4).toarray(), (chosen + chosen.T) / 2)


def test_cooccurrence_counts_common_users() -> None:
    histories = Histories(np.array([0, 3, 5, 6]), np.array([0, 1, 0, 1, 2, 3], np.int32), 5)
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 1  # user 0, who had item 0 twice
    expected[1, 2] = expected[2, 1] = 1
    np.testing.assert_array_equal(spectral.cooccurrence(histories, "item").toarray(), expected)
    np.testing.assert_array_equal(spectral.cooccurrence(histories, "user").toarray(), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_the_clusters_of_scikit_learn() -> None:
    rows, label = blobs()
    graph = scipy.sparse.csr_array(spectral.neighbour_graph(rows, 10).toarray() + 1e-3)  # theirs wants it connected
    actual = spectral.spectral_clusters(graph, 3, key=KEY)
    theirs = SpectralClustering(3, affinity="precomputed", random_state=0).fit_predict(graph.toarray())
    assert adjusted_rand_score(actual, theirs) == 1
    assert adjusted_rand_score(actual, label) == 1
    order = np.random.default_rng(2).permutation(len(rows))
    moved = spectral.spectral_clusters(spectral.neighbour_graph(rows[order], 10), 3, key=KEY)
    assert adjusted_rand_score(actual[order], moved) == 1


def test_large_graphs_take_the_sparse_solver() -> None:
    label = np.repeat(np.arange(5), 120)
    rng = np.random.default_rng(3)
    weights = rng.random((600, 600)) < np.where(label[:, None] == label, 0.2, 0.01)
    graph = scipy.sparse.csr_array(np.triu(weights, 1) + np.triu(weights, 1).T.astype(float))
    assert adjusted_rand_score(spectral.spectral_clusters(graph, 5, key=KEY), label) > 0.98


def test_nodes_without_a_link_have_no_cluster() -> None:
    weights = scipy.sparse.block_diag([blocks([6, 6]), np.zeros((3, 3))]).tocsr()
    actual = spectral.spectral_clusters(weights, 2, key=KEY)
    assert (actual[12:] == -1).all()
    assert adjusted_rand_score(actual[:12], np.repeat([0, 1], 6)) == 1
    assert (spectral.spectral_clusters(scipy.sparse.csr_array((4, 4)), 2, key=KEY) == -1).all()


def test_more_clusters_than_nodes() -> None:
    actual = spectral.spectral_clusters(scipy.sparse.csr_array(blocks([3])), 9, key=KEY)
    assert sorted(actual.tolist()) == [0, 1, 2]


def test_a_tree_by_hand() -> None:
    """Two blocks, one of which falls into two again; four nodes fit a leaf."""
    top = blocks([4, 8], across=0.01)
    top[4:, 4:] = blocks([4, 4], inside=20, across=2)
    paths = spectral.cluster_tree(scipy.sparse.csr_array(top), 2, 4, key=KEY)
    assert paths.shape == (12, 2)
    assert len({tuple(p) for p in paths[:4]}) == len({tuple(p) for p in paths[4:8]}) == 1
    assert len({tuple(p) for p in paths[::4]}) == 3
    assert paths[0, 0] != paths[4, 0] == paths[8, 0]
    assert paths[0, 1] == 0  # small enough, so it went on as its own only child


@pytest.mark.parametrize(("branches", "leaf"), [(2, 5), (4, 10), (3, 1)])
def test_leaves_are_small_and_tokens_few(branches: int, leaf: int) -> None:
    rows, _ = blobs(120, 6)
    graph = scipy.sparse.lil_array(spectral.neighbour_graph(rows, 8))
    graph[7], graph[:, [7]] = 0, 0
    paths = spectral.cluster_tree(graph.tocsr(), branches, leaf, key=KEY)
    assert (paths[7] == -1).all()
    known = np.delete(paths, 7, 0)
    assert known.min() == 0
    assert known.max() < branches
    _, counts = np.unique(known, axis=0, return_counts=True)
    assert counts.max() <= leaf
    np.testing.assert_array_equal(paths, spectral.cluster_tree(graph.tocsr(), branches, leaf, key=KEY))


def test_what_nothing_tells_apart_is_cut_in_pieces() -> None:
    paths = spectral.cluster_tree(scipy.sparse.csr_array(np.ones((30, 30)) - np.eye(30)), 4, 3, key=KEY)
    _, counts = np.unique(paths, axis=0, return_counts=True)
    assert counts.sum() == 30
    assert counts.max() <= 3
