"""LTGNN beside a dense matrix: a step as a NumPy loop, the fixed point and its derivative as a linear solve."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxrec.models import lightgcn, ltgnn
from jaxrec.models.lightgcn import Events, draw_negatives
from jaxrec.models.ltgnn import Memory
from jaxrec.models.neighbours import Neighbours, draw_neighbours, neighbours
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore

USERS, ITEMS, WIDTH, ALPHA = 30, 20, 6, 0.3
NODES = USERS + ITEMS
Graph = tuple[np.ndarray, Adjacency, Neighbours, Events]


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Edges of 30 users and 20 items; user 28 has every item but one, user 29 none, and nobody has item 19."""
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 28, 200), np.full(ITEMS - 1, 28)])
    items = np.concatenate([rng.integers(0, 19, 200), np.arange(ITEMS - 1)])
    pairs = edges(users, items, ITEMS)
    built = adjacency(pairs, USERS, ITEMS)
    others = neighbours(pairs, USERS, built), lightgcn.events(pairs, USERS)
    return pairs, *jax.tree.map(jnp.asarray, (built, *others))


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    values = np.random.default_rng(1).normal(size=(NODES, WIDTH)).astype(np.float32)
    values[[29, NODES - 1]] = 0
    return values


def dense(pairs: np.ndarray) -> np.ndarray:
    """S f64[U+I, U+I], edge by edge."""
    matrix = np.zeros((NODES, NODES))
    for user, item in pairs:
        value = ((pairs[:, 0] == user).sum() * (pairs[:, 1] == item).sum()) ** -0.5
        matrix[user, USERS + item] = matrix[USERS + item, user] = value
    return matrix


def solved(pairs: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The right side times alpha (I - (1 - alpha) S)^-1."""
    return np.linalg.solve(np.eye(NODES) - (1 - ALPHA) * dense(pairs), ALPHA * right)


def random_memory(graph: Adjacency, pairs: np.ndarray, step: int) -> tuple[Memory, dict[str, np.ndarray]]:
    """A memory of arbitrary values with a true aggregate, and the same by node."""
    rng = np.random.default_rng(2)
    nodes = {name: rng.normal(size=(NODES, WIDTH)) for name in ("output", "gradient", "snapshot")}
    nodes["aggregate"] = dense(pairs) @ nodes["snapshot"]
    rows = {name: arrange(graph, values.astype(np.float32)) for name, values in nodes.items()}
    return Memory(jnp.int32(step), **rows), nodes


@functools.partial(jax.jit, static_argnames=("most", "every", "regularization"))
def step(graph, nodes, memory, batch, key, *, most=3, every=100, regularization=0.01):
    _, built, lists, train_events = graph
    settings = {"alpha": ALPHA, "most": most, "every": every, "regularization": regularization}
    return ltgnn.gradients(nodes, memory, built, lists, train_events, batch, key=key, **settings)


@pytest.mark.parametrize("number", [3, 4])
def test_a_step_as_a_loop_over_nodes_and_drawn_neighbours(graph: Graph, table: np.ndarray, number: int) -> None:
    """A new snapshot is due every 4 steps. User 0 stands twice in the batch; user 28 has one item left over."""
    pairs, built, lists, train_events = graph
    memory, old = random_memory(built, pairs, number)
    matrix, key = dense(pairs), jax.random.key(5)
    of_28 = int(np.flatnonzero(pairs[:, 0] == 28)[0])
    batch = np.array([0, 1, 60, 90, of_28, of_28 + 2], np.int32)
    actual = step(graph, arrange(built, table), memory, batch, key, every=4)

    users, positives = pairs[batch, 0], pairs[batch, 1] + USERS
    key_negatives, key_neighbours = jax.random.split(key)
    negatives = np.asarray(draw_negatives(train_events, users, ITEMS, key=key_negatives)) + USERS
    node = np.full(built.rows, -1)
    node[np.asarray(built.place)] = np.arange(NODES)
    triples = list(zip(users, positives, negatives))
    targets = np.unique(np.asarray(built.place)[np.array(triples).T.reshape(-1)])
    padded = np.append(targets, np.full(min(3 * len(batch), built.rows) - len(targets), built.rows - 1))
    drawn = np.asarray(draw_neighbours(lists, padded, 3, key=key_neighbours))[: len(targets)]

    if number == 4:
        old["snapshot"], old["aggregate"] = old["output"], matrix @ old["output"]
    sampled = np.zeros((NODES, NODES))  # S^, each drawn edge times degree / 3 where not all are drawn
    for row, others in zip(targets, drawn):
        degree = int(lists.degree[row])
        for other in others:
            if node[other] >= 0:
                sampled[node[row], node[other]] = matrix[node[row], node[other]] * max(degree / 3, 1)
    new = {name: values.copy() for name, values in old.items()}
    corrected = sampled @ (old["output"] - old["snapshot"]) + old["aggregate"]
    in_batch = node[targets]
    new["output"][in_batch] = ((1 - ALPHA) * corrected + ALPHA * table)[in_batch]

    leaf, layer_0 = (torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in (new["output"], table))
    bpr, squares = torch.zeros(()), torch.zeros(())
    for user, positive, negative in triples:
        bpr = bpr - torch.nn.functional.logsigmoid(leaf[user] @ (leaf[positive] - leaf[negative])) / len(batch)
        squares = squares + (layer_0[[user, positive, negative]] ** 2).sum() / 2 / len(batch)
    (of_output,) = torch.autograd.grad(bpr, leaf)
    (of_squares,) = torch.autograd.grad(0.01 * squares, layer_0)
    new["gradient"][in_batch] = ((1 - ALPHA) * sampled @ old["gradient"] + ALPHA * of_output.numpy())[in_batch]
    gradient = of_squares.numpy()
    gradient[in_batch] += new["gradient"][in_batch]

    (loss, metrics), actual_gradient, actual_memory = actual
    np.testing.assert_allclose(metrics["bpr"], bpr.item(), rtol=1e-5)
    np.testing.assert_allclose(loss, bpr.item() + 0.01 * squares.item(), rtol=1e-5)
    np.testing.assert_allclose(restore(built, actual_gradient), gradient, atol=2e-5)
    for name, values in new.items():
        np.testing.assert_allclose(restore(built, getattr(actual_memory, name)), values, atol=2e-5, err_msg=name)
    assert int(actual_memory.step) == number + 1
    assert not np.asarray(actual_memory.output)[-1].any()
    assert not np.asarray(actual_gradient)[-1].any()


def test_the_fixed_point_is_the_solution(graph: Graph, table: np.ndarray) -> None:
    pairs, built, *_ = graph
    rows = jax.jit(ltgnn.fixed_point, static_argnums=2)(arrange(built, table), built, ALPHA)
    np.testing.assert_allclose(restore(built, rows), solved(pairs, table), atol=1e-3)
    np.testing.assert_array_equal(ltgnn.fixed_point(arrange(built, table), built, 1.0), arrange(built, table))


def test_steps_over_all_nodes_reach_the_fixed_point_and_its_derivative(graph: Graph, table: np.ndarray) -> None:
    """Of the same triples, again and again, from nothing, with all neighbours."""
    pairs, built, lists, _ = graph
    batch, key = np.arange(len(pairs), dtype=np.int32), jax.random.key(6)
    zeros = jnp.zeros((built.rows, WIDTH))
    memory = Memory(jnp.int32(0), zeros, zeros, zeros, zeros)
    nodes = arrange(built, table)
    most = int(lists.degree.max())
    for _ in range(60):
        (loss, _), gradient, memory = step(graph, nodes, memory, batch, key, most=most, regularization=0.0)

    train_events = graph[3]
    negatives = draw_negatives(train_events, pairs[:, 0], ITEMS, key=jax.random.split(key)[0])
    node = torch.tensor(table, dtype=torch.float64, requires_grad=True)
    inverse = torch.linalg.inv(torch.eye(NODES, dtype=torch.float64) - (1 - ALPHA) * torch.tensor(dense(pairs)))
    final = ALPHA * inverse @ node
    user, positive, negative = (
        final[torch.tensor(np.array(index))] for index in (pairs[:, 0], USERS + pairs[:, 1], USERS + negatives)
    )
    expected = torch.nn.functional.softplus(-(user * (positive - negative)).sum(1)).mean()
    (derivative,) = torch.autograd.grad(expected, node)
    used = np.unique(np.concatenate([pairs[:, 0], USERS + pairs[:, 1], USERS + np.asarray(negatives)]))
    assert len(used) >= NODES - 1  # all but user 29
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(
        restore(built, memory.output)[used], final.detach().numpy()[used], atol=1e-5, err_msg="output"
    )
    np.testing.assert_allclose(restore(built, memory.gradient), derivative.numpy(), atol=1e-6)
    np.testing.assert_allclose(restore(built, gradient), derivative.numpy(), atol=1e-6)


def test_outputs_come_to_rest_over_drawn_neighbours_too(graph: Graph, table: np.ndarray) -> None:
    """Because a snapshot of the fixed point leaves nothing to draw."""
    pairs, built, *_ = graph
    nodes, batch = arrange(built, table), np.arange(len(pairs), dtype=np.int32)
    exact = solved(pairs, table)
    memory = ltgnn.start(jnp.zeros_like(nodes), built, ALPHA)
    errors = []
    for number in range(60):
        _, _, memory = step(graph, nodes, memory, batch, jax.random.key(number), most=8, every=5)
        errors.append(np.abs(np.asarray(restore(built, memory.output)) - exact)[:29].max())
    assert errors[-1] < 1e-3 < errors[0]


def test_a_start_is_the_fixed_point_with_its_sums(graph: Graph, table: np.ndarray) -> None:
    pairs, built, *_ = graph
    memory = ltgnn.start(arrange(built, table), built, ALPHA)
    np.testing.assert_allclose(restore(built, memory.output), solved(pairs, table), atol=1e-3)
    np.testing.assert_array_equal(memory.snapshot, memory.output)
    np.testing.assert_allclose(restore(built, memory.aggregate), dense(pairs) @ solved(pairs, table), atol=1e-3)
    assert not np.asarray(memory.gradient).any()


def test_one_trace_and_finite_gradients(graph: Graph, table: np.ndarray) -> None:
    _, built, lists, train_events = graph
    chex.clear_trace_counter()

    def gradients(nodes, memory, batch, key):
        settings = {"alpha": ALPHA, "most": 3, "every": 2, "regularization": 0.01}
        return ltgnn.gradients(nodes, memory, built, lists, train_events, batch, key=key, **settings)

    gradients = jax.jit(chex.assert_max_traces(gradients, n=1))
    for number, scale in enumerate((0.0, 1.0, 1e4)):
        nodes = scale * arrange(built, table)
        memory = dataclasses.replace(ltgnn.start(nodes, built, ALPHA), step=jnp.int32(number))
        values = gradients(nodes, memory, jnp.arange(7) + number, jax.random.key(number))
        assert all(np.isfinite(value).all() for value in jax.tree.leaves(values))
