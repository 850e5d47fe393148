"""LightGCN: propagation beside SciPy, loss and gradient beside PyTorch, negatives counted one by one."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import torch

from jaxrec.models import lightgcn
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore

USERS, ITEMS, WIDTH = 30, 20, 6


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    """Edges of 30 users and 20 items; user 28 has every item, user 29 none, item 19 only user 28."""
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 28, 200), np.full(ITEMS, 28)])
    items = np.concatenate([rng.integers(0, 19, 200), np.arange(ITEMS)])
    return edges(users, items, ITEMS)


@pytest.fixture(scope="module")
def graph(pairs: np.ndarray) -> Adjacency:
    return jax.tree.map(jnp.asarray, adjacency(pairs, USERS, ITEMS))


@pytest.fixture(scope="module")
def train_events(pairs: np.ndarray) -> lightgcn.Events:
    return jax.tree.map(jnp.asarray, lightgcn.events(pairs, USERS))


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(USERS + ITEMS, WIDTH)).astype(np.float32)


def dense(pairs: np.ndarray) -> np.ndarray:
    """S as a dense matrix f64[U+I, U+I]."""
    bought = scipy.sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (USERS, ITEMS)).toarray()
    degrees = np.outer(np.maximum(bought.sum(1), 1), np.maximum(bought.sum(0), 1))
    normal = bought / np.sqrt(degrees)
    return np.block([[np.zeros((USERS, USERS)), normal], [normal.T, np.zeros((ITEMS, ITEMS))]])


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation_is_the_mean_of_layers(pairs, graph, table, layers) -> None:
    actual = restore(graph, lightgcn.propagate(arrange(graph, table), graph, layers))
    each = [np.linalg.matrix_power(dense(pairs), k) @ table for k in range(layers + 1)]
    np.testing.assert_allclose(actual, np.mean(each, axis=0), atol=1e-6)


def test_propagation_worked_by_hand() -> None:
    # One user, one item: both degrees are 1, so a layer swaps their vectors.
    graph = adjacency(np.array([[0, 0]]), 1, 1)
    actual = restore(graph, lightgcn.propagate(arrange(graph, np.array([[1.0], [4.0]], np.float32)), graph, 2))
    np.testing.assert_allclose(actual, [[(1 + 4 + 1) / 3], [(4 + 1 + 4) / 3]], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [0, 2])
def test_loss_and_gradient_as_torch(pairs, graph, train_events, table, layers, monkeypatch) -> None:
    rng = np.random.default_rng(2)
    batch = rng.permutation(len(pairs))[:32].astype(np.int32)
    negatives = rng.integers(0, ITEMS, 32).astype(np.int32)
    monkeypatch.setattr(lightgcn, "draw_negatives", lambda *_, **__: jnp.asarray(negatives))
    run = functools.partial(
        lightgcn.loss,
        graph=graph,
        train_events=train_events,
        batch=batch,
        regularization=0.03,
        key=jax.random.key(0),
    )
    (value, parts), gradient = jax.value_and_grad(
        lambda nodes: run(nodes, lightgcn.propagate(nodes, graph, layers)), has_aux=True
    )(arrange(graph, table))

    nodes = torch.tensor(table, dtype=torch.float64, requires_grad=True)
    matrix, layer, final = torch.tensor(dense(pairs)), nodes, nodes
    for _ in range(layers):
        layer = matrix @ layer
        final = final + layer
    final = final / (layers + 1)
    users, positives = torch.tensor(pairs[batch, 0]).long(), torch.tensor(pairs[batch, 1]).long() + USERS
    others = torch.tensor(negatives).long() + USERS
    counts = users != 28  # has every item: no negative, no weight
    margin = (final[users] * (final[positives] - final[others])).sum(1)[counts]
    squares = sum(nodes[rows][counts].pow(2).sum() for rows in (users, positives, others)) / 2 / counts.sum()
    theirs = -torch.nn.functional.logsigmoid(margin).mean() + 0.03 * squares
    (theirs_by_node,) = (actual.numpy() for actual in torch.autograd.grad(theirs, nodes))
    assert 0 < int(counts.sum()) < 32
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-5)
    np.testing.assert_allclose(parts["squares"], squares.item(), rtol=1e-5)
    np.testing.assert_allclose(restore(graph, gradient), theirs_by_node, atol=1e-6)


def test_negatives_are_even_over_the_items_without_an_event(pairs, train_events) -> None:
    draws = 60_000
    users = jnp.asarray(np.repeat(np.arange(USERS), draws // USERS).astype(np.int32))
    drawn = np.asarray(lightgcn.draw_negatives(train_events, users, ITEMS, key=jax.random.key(3)))
    counts = np.zeros((USERS, ITEMS), int)
    np.add.at(counts, (np.asarray(users), drawn), 1)
    bought = np.zeros((USERS, ITEMS), bool)
    bought[pairs[:, 0], pairs[:, 1]] = True
    bought[28] = False  # has every item: whatever is drawn gets no weight
    assert not counts[bought].any()
    for user in [u for u in range(USERS) if u != 28]:
        free = ~bought[user]
        expected = draws // USERS / free.sum()
        # Five standard deviations of a binomial count.
        assert abs(counts[user][free] - expected).max() < 5 * np.sqrt(expected), user
    assert 0 <= drawn.min() <= drawn.max() < ITEMS


@pytest.mark.parametrize("missing", [0, 3, 6])
def test_the_only_item_without_an_event_is_always_drawn(missing: int) -> None:
    items = np.delete(np.arange(7), missing)
    train_events = lightgcn.events(edges(np.ones(6, int), items, 7), 3)
    train_events = jax.tree.map(jnp.asarray, train_events)
    drawn = lightgcn.draw_negatives(train_events, jnp.ones(50, jnp.int32), 7, key=jax.random.key(0))
    np.testing.assert_array_equal(drawn, missing)


def test_a_batch_without_any_negative_costs_nothing() -> None:
    pairs = edges(np.zeros(2, int), np.arange(2), 2)
    graph, train_events = jax.tree.map(jnp.asarray, (adjacency(pairs, 1, 2), lightgcn.events(pairs, 1)))
    value, gradient = jax.value_and_grad(
        lambda n: lightgcn.loss(
            n,
            lightgcn.propagate(n, graph, 1),
            graph,
            train_events,
            jnp.arange(2),
            regularization=1.0,
            key=jax.random.key(0),
        )[0]
    )(jnp.ones((graph.rows, 2)))
    assert value == 0
    assert not np.asarray(gradient).any()


def test_rows_without_a_node_get_no_gradient_and_all_is_finite(graph, train_events, table) -> None:
    for nodes in (arrange(graph, table), jnp.zeros((graph.rows, WIDTH)), 100 * arrange(graph, table)):
        gradient = jax.grad(
            lambda n: lightgcn.loss(
                n,
                lightgcn.propagate(n, graph, 3),
                graph,
                train_events,
                jnp.arange(64),
                regularization=0.1,
                key=jax.random.key(1),
            )[0]
        )(nodes)
        assert np.isfinite(gradient).all()
        assert not np.asarray(gradient)[np.setdiff1d(np.arange(graph.rows), graph.place)].any()


def test_one_trace(graph, train_events, table) -> None:
    traced = jax.jit(
        chex.assert_max_traces(
            lambda n, b, k: lightgcn.loss(
                n, lightgcn.propagate(n, graph, 2), graph, train_events, b, regularization=0.1, key=k
            )[0],
            n=1,
        )
    )
    for seed in range(3):
        traced(arrange(graph, table), jnp.arange(8) + seed, jax.random.key(seed))


def test_fresh_tables_have_the_scale_asked_for() -> None:
    table = lightgcn.init(400, 64, key=jax.random.key(0), scale=0.3)
    assert table.shape == (400, 64)
    # The standard deviation of 25,600 normal draws is known to 0.5%.
    assert float(table.std()) == pytest.approx(0.3, rel=0.03)
