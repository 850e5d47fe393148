"""GTN's propagation beside a dense incidence matrix, its minimum beside a solver, its gradient beside PyTorch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import torch

from jaxrec.models import gtn, sparse
from jaxrec.models.sparse import Incidence, along_edges, arrange, edges, gathered, incidence, restore

USERS, ITEMS, WIDTH = 30, 20, 6


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    """Edges of 30 users and 20 items; user 28 has every item but one, user 29 none, and nobody has item 19."""
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 28, 200), np.full(ITEMS - 1, 28)])
    items = np.concatenate([rng.integers(0, 19, 200), np.arange(ITEMS - 1)])
    return edges(users, items, ITEMS)


@pytest.fixture(scope="module", params=[8192, 16], ids=["one part", "many parts"])
def graph(pairs: np.ndarray, request: pytest.FixtureRequest) -> Incidence:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "PART", request.param)
        built = incidence(pairs, USERS, ITEMS)
    assert (len(built.ends) > 1) == (request.param == 16)
    return jax.tree.map(jnp.asarray, built)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(USERS + ITEMS, WIDTH)).astype(np.float32)


def dense(pairs: np.ndarray) -> np.ndarray:
    """B f64[E, U+I] edge by edge: 1 / sqrt(degree + 1), negative for the item."""
    matrix = np.zeros((len(pairs), USERS + ITEMS))
    for e, (user, item) in enumerate(pairs):
        matrix[e, user] = ((pairs[:, 0] == user).sum() + 1) ** -0.5
        matrix[e, USERS + item] = -(((pairs[:, 1] == item).sum() + 1) ** -0.5)
    return matrix


def propagated(graph: Incidence, table: np.ndarray, layers: int, lambda2: float) -> np.ndarray:
    rows = jax.jit(gtn.propagate, static_argnums=(2, 3))(arrange(graph.lists, table), graph, layers, lambda2)
    return np.asarray(restore(graph.lists, rows))


def test_the_incidence_matrix_and_its_transpose(pairs, graph, table) -> None:
    matrix = dense(pairs)
    nodes = arrange(graph.lists, table)
    differences = along_edges(lambda difference: difference, graph, nodes)
    actual = np.asarray(differences).reshape(-1, WIDTH)
    np.testing.assert_allclose(actual[: len(pairs)], matrix @ table, atol=1e-6)
    assert not actual[len(pairs) :].any()
    back = restore(graph.lists, gathered(graph, differences))
    np.testing.assert_allclose(back, matrix.T @ (matrix @ table), atol=1e-5)


@pytest.mark.parametrize(("layers", "lambda2"), [(1, 0.3), (4, 0.1)])
def test_layers_as_the_loop_over_the_steps(pairs, graph, table, layers: int, lambda2: float) -> None:
    matrix = dense(pairs)
    filtered, dual = table.astype(np.float64), np.zeros((len(pairs), WIDTH))
    for _ in range(layers):
        dual = np.minimum(np.maximum(dual + 0.5 * (matrix @ filtered), -lambda2), lambda2)
        filtered = table - matrix.T @ dual
    assert 0 < (np.abs(dual) == lambda2).mean() < 1
    np.testing.assert_allclose(propagated(graph, table, layers, lambda2), filtered, atol=1e-5)


def test_many_layers_reach_the_minimum(pairs, graph, table) -> None:
    """Of 1/2 |F - E|^2 + l |B F|_1, which a solver of the dual problem with bounds finds, too."""
    matrix, lambda2 = dense(pairs), 0.1
    step = jax.jit(gtn.step, static_argnums=4)
    nodes = filtered = arrange(graph.lists, table)
    dual = jnp.zeros((*graph.ends.shape[:2], WIDTH))
    for _ in range(600):
        filtered, dual = step(nodes, graph, filtered, dual, lambda2)
    actual = np.asarray(restore(graph.lists, filtered))
    for feature in range(2):
        start = table[:, feature].astype(np.float64)

        def dual_value(z, start=start):
            rest = start - matrix.T @ z
            return 0.5 * rest @ rest, -(matrix @ rest)

        solved = scipy.optimize.minimize(
            dual_value,
            np.zeros(len(pairs)),
            jac=True,
            bounds=[(-lambda2, lambda2)] * len(pairs),
            method="L-BFGS-B",
            options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9},
        )
        np.testing.assert_allclose(actual[:, feature], start - matrix.T @ solved.x, atol=1e-4)


def test_without_weight_nothing_is_filtered_and_with_a_large_one_all_edges_smooth(pairs, graph, table) -> None:
    np.testing.assert_array_equal(propagated(graph, table, 3, 0.0), table)
    matrix = dense(pairs)
    lazy = np.eye(USERS + ITEMS) - 0.5 * matrix.T @ matrix  # half of GCN's smoothing with loops
    loops = np.eye(USERS + ITEMS) + (np.abs(matrix.T @ matrix) > 0) * (1 - np.eye(USERS + ITEMS))
    degrees = loops.sum(0)
    np.testing.assert_allclose(lazy, 0.5 * np.eye(USERS + ITEMS) + 0.5 * loops / np.sqrt(np.outer(degrees, degrees)))
    np.testing.assert_allclose(propagated(graph, table, 3, 1e6), np.linalg.matrix_power(lazy, 3) @ table, atol=1e-5)


def test_nodes_without_an_edge_keep_their_vector(graph, table) -> None:
    actual = propagated(graph, table, 3, 0.2)
    np.testing.assert_array_equal(actual[[29, USERS + 19]], table[[29, USERS + 19]])
    zeroed = table.copy()
    zeroed[[29, USERS + 19]] = 0
    assert not propagated(graph, zeroed, 3, 0.2)[[29, USERS + 19]].any()


@pytest.mark.parametrize(("layers", "lambda2"), [(1, 0.2), (3, 0.2), (3, 0.0)])
def test_gradient_as_torch(pairs, graph, table, layers: int, lambda2: float) -> None:
    weights = np.random.default_rng(2).normal(size=table.shape).astype(np.float32)
    rows = arrange(graph.lists, weights)
    gradient = jax.jit(jax.grad(lambda n: (rows * gtn.propagate(n, graph, layers, lambda2) ** 2).sum()))(
        arrange(graph.lists, table)
    )
    nodes, matrix = torch.tensor(table, dtype=torch.float64, requires_grad=True), torch.tensor(dense(pairs))
    filtered, dual = nodes, torch.zeros(len(pairs), WIDTH, dtype=torch.float64)
    for _ in range(layers):
        dual = (dual + 0.5 * matrix @ filtered).clamp(-lambda2, lambda2)
        filtered = nodes - matrix.T @ dual
    (theirs,) = torch.autograd.grad((torch.tensor(weights) * filtered**2).sum(), nodes)
    if lambda2:
        np.testing.assert_allclose(restore(graph.lists, gradient), theirs.numpy(), atol=2e-5)
    else:  # clamped from both sides; the result is E, whatever the gradient of a point
        np.testing.assert_allclose(restore(graph.lists, gradient), 2 * weights * table, atol=1e-5)


def test_one_trace_and_finite_gradients(graph, table) -> None:
    chex.clear_trace_counter()

    def value(nodes):
        return gtn.propagate(nodes, graph, 3, 0.1).sum()

    step = jax.jit(jax.grad(chex.assert_max_traces(value, n=1)))
    for scale in (0.0, 1.0, 1e4):
        assert np.isfinite(step(scale * arrange(graph.lists, table))).all()
