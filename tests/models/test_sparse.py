"""The product with the normalised graph: by hand, beside SciPy, symmetric, without scatters, and on a mesh."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.sharding import NamedSharding, PartitionSpec
from jax.test_util import check_grads

from jaxrec.models.sparse import MULTIPLE, WIDTHS, Adjacency, adjacency, arrange, edges, product, restore
from jaxrec.training.sharding import make_mesh


def skewed(n_users: int = 300, n_items: int = 120, seed: int = 0) -> tuple[np.ndarray, int, int]:
    """Edges whose items' degrees run from 0 to far beyond the widest block."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, n_items)
    items = rng.choice(n_items - 1, 3000, p=share / share.sum())  # the last item has no edge
    return edges(rng.integers(0, n_users - 1, 3000), items, n_items), n_users, n_items


def reference(pairs: np.ndarray, n_users: int, n_items: int) -> scipy.sparse.csr_matrix:
    """D^-1/2 A D^-1/2 as a square SciPy matrix."""
    bought = scipy.sparse.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (n_users, n_items))
    whole = scipy.sparse.bmat([[None, bought], [bought.T, None]]).tocsr()
    scale = scipy.sparse.diags(np.maximum(np.asarray(whole.sum(1)).ravel(), 1.0) ** -0.5)
    return (scale @ whole @ scale).tocsr()


def of_nodes(graph: Adjacency, x: np.ndarray) -> np.ndarray:
    """The product from nodes to nodes."""
    return np.asarray(jax.jit(lambda g, v: restore(g, product(g, arrange(g, v))))(graph, x))


def test_worked_by_hand() -> None:
    # User 0 has items 0 and 1, user 1 has item 1: degrees of users 2, 1, of items 1, 2.
    graph = adjacency(np.array([[0, 0], [0, 1], [1, 1]]), 2, 2)
    actual = of_nodes(graph, np.array([[1.0], [10.0], [100.0], [1000.0]], np.float32))
    # User 0: 100 / sqrt(2 * 1) + 1000 / sqrt(2 * 2); user 1: 1000 / sqrt(1 * 2); items likewise.
    expected = [100 / 2**0.5 + 500, 1000 / 2**0.5, 1 / 2**0.5, 1 / 2 + 10 / 2**0.5]
    np.testing.assert_allclose(actual[:, 0], expected, rtol=1e-6)


def test_as_scipy_where_degrees_are_skewed() -> None:
    pairs, n_users, n_items = skewed()
    graph = adjacency(pairs, n_users, n_items)
    degree = np.bincount(pairs[:, 1], minlength=n_items)
    assert degree.max() > 10 * WIDTHS[-1]
    assert degree.min() == 0
    x = np.random.default_rng(1).normal(size=(n_users + n_items, 5)).astype(np.float32)
    np.testing.assert_allclose(of_nodes(graph, x), reference(pairs, n_users, n_items) @ x, atol=1e-6)
    jax.config.update("jax_disable_jit", True)
    try:
        np.testing.assert_allclose(of_nodes(graph, x), reference(pairs, n_users, n_items) @ x, atol=1e-6)
    finally:
        jax.config.update("jax_disable_jit", False)


def test_rows_are_nodes_in_another_order() -> None:
    pairs, n_users, n_items = skewed()
    graph = adjacency(pairs, n_users, n_items)
    x = np.random.default_rng(1).normal(size=(n_users + n_items, 3)).astype(np.float32)
    rows = np.asarray(arrange(graph, x))
    np.testing.assert_array_equal(restore(graph, rows), x)
    assert len(np.unique(graph.place)) == n_users + n_items
    assert not rows[np.setdiff1d(np.arange(graph.rows), graph.place)].any()
    assert graph.rows - 1 not in graph.place


def test_rows_without_a_node_change_nothing() -> None:
    pairs, n_users, n_items = skewed()
    graph = adjacency(pairs, n_users, n_items)
    x = np.random.default_rng(1).normal(size=(graph.rows, 3)).astype(np.float32)
    clean = np.array(x)
    clean[np.setdiff1d(np.arange(graph.rows), graph.place)] = 0.0
    np.testing.assert_array_equal(product(graph, jnp.asarray(x)), product(graph, jnp.asarray(clean)))


def test_the_gradient_is_the_same_product_without_a_scatter() -> None:
    pairs, n_users, n_items = skewed(40, 20)
    graph = jax.tree.map(jnp.asarray, adjacency(pairs, n_users, n_items))
    x, cotangent = (jax.random.normal(jax.random.key(k), (graph.rows, 2)) for k in (0, 1))
    back = jax.vjp(lambda v: product(graph, v), x)[1]
    np.testing.assert_array_equal(back(cotangent)[0], product(graph, cotangent))
    check_grads(lambda v: product(graph, v), (x,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
    lowered = jax.jit(jax.grad(lambda v: (product(graph, v) * cotangent).sum())).lower(x).as_text()
    assert "gather" in lowered
    assert "scatter" not in lowered


def test_repeated_events_count_once() -> None:
    once = edges(np.array([1, 0, 1]), np.array([2, 1, 0]), 3)
    np.testing.assert_array_equal(once, [[0, 1], [1, 0], [1, 2]])
    np.testing.assert_array_equal(edges(np.array([1, 1, 0, 1, 0]), np.array([2, 0, 1, 2, 1]), 3), once)


def test_padding_is_bounded() -> None:
    pairs, n_users, n_items = skewed()
    graph = adjacency(pairs, n_users, n_items)
    entries = sum(block.size for block in (*graph.blocks, graph.long[0]))
    assert graph.padding == pytest.approx(1 - 2 * len(pairs) / entries)
    # Neighbouring widths differ by half at most, a long list wastes less than a part, a block less than MULTIPLE rows.
    most = 2 * len(pairs) * 1.5 + len(graph.long[-1]) * WIDTHS[-1] + 2 * MULTIPLE * sum(WIDTHS)
    assert entries <= most


def test_a_hub_of_the_whole_graph_keeps_its_lists_narrow() -> None:
    # 5,000 neighbours: 313 parts of 16, 20 parts of those, 2 of those, 1.
    pairs = np.stack([np.arange(5000), np.zeros(5000, int)], axis=1)
    graph = adjacency(pairs, 5000, 1)
    assert len(graph.long) == 4
    assert max(lists.shape[1] for lists in (*graph.blocks, *graph.long)) == WIDTHS[-1]
    x = np.random.default_rng(0).normal(size=(5001, 2)).astype(np.float32)
    np.testing.assert_allclose(of_nodes(graph, x), reference(pairs, 5000, 1) @ x, atol=1e-5)
    assert graph.padding < 0.05


def test_no_edge_at_all() -> None:
    graph = adjacency(np.zeros((0, 2), np.int32), 3, 2)
    assert not of_nodes(graph, np.ones((5, 4), np.float32)).any()


def test_wrong_edges_are_named() -> None:
    with pytest.raises(ValueError, match=r"item holds 0\.\.2, wanted 0\.\.1"):
        adjacency(np.array([[0, 0], [0, 2]]), 1, 2)
    with pytest.raises(ValueError, match="an edge stands twice"):
        adjacency(np.array([[0, 0], [0, 0]]), 1, 2)


@pytest.mark.parametrize("by_row", [False, True])
def test_on_a_mesh(by_row: bool) -> None:
    """Features over `model`; with `by_row` the lists also over `data`, so that every device sums rows of its own."""
    pairs, n_users, n_items = skewed()
    graph = adjacency(pairs, n_users, n_items)
    x = np.random.default_rng(1).normal(size=(graph.rows, 8)).astype(np.float32)
    alone = np.asarray(product(graph, jnp.asarray(x)))
    mesh = make_mesh(2, 2)

    def place(array: np.ndarray) -> jax.Array:
        split = by_row and array.ndim == 2 and array.shape[0] % 2 == 0
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec("data" if split else None)))

    placed = jax.tree.map(place, graph)
    features = NamedSharding(mesh, PartitionSpec(None, "model"))
    together = jax.jit(product, out_shardings=features)(placed, jax.device_put(x, features))
    assert together.sharding.is_equivalent_to(features, 2)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    if not by_row:
        text = jax.jit(product, out_shardings=features).lower(placed, jax.device_put(x, features)).compile().as_text()
        assert text is not None
        assert not any(word in text for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))


def test_one_trace() -> None:
    pairs, n_users, n_items = skewed()
    graph = adjacency(pairs, n_users, n_items)
    traced = jax.jit(chex.assert_max_traces(product, n=1))
    for seed in range(3):
        traced(graph, jax.random.normal(jax.random.key(seed), (graph.rows, 2)))
