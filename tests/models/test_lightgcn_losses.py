"""LightGCN's losses beside PyTorch: values, gradients, and what is no negative."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxrec.config import LightGcnConfig
from jaxrec.models import lightgcn
from jaxrec.models.lightgcn_losses import LIGHTGCN_LOSSES, ranks_by_cosine
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore

USERS, ITEMS, WIDTH = 12, 9, 5
CONFIG = LightGcnConfig(dim=WIDTH, layers=2, negatives=7, regularization=0.03)
LOSSES = ("bpr", "sampled", "in_batch", "full")


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    """Edges of 12 users and 9 items; user 10 has every item but one, user 11 none, and nobody item 8."""
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 10, 30), np.full(8, 10)])
    return edges(users, np.concatenate([rng.integers(0, 8, 30), np.arange(8)]), ITEMS)


@pytest.fixture(scope="module")
def graph(pairs: np.ndarray) -> Adjacency:
    return jax.tree.map(jnp.asarray, adjacency(pairs, USERS, ITEMS))


@pytest.fixture(scope="module")
def train_events(pairs: np.ndarray) -> lightgcn.Events:
    return jax.tree.map(jnp.asarray, lightgcn.events(pairs, USERS))


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    table = np.random.default_rng(1).normal(size=(USERS + ITEMS, WIDTH)).astype(np.float32)
    table[[11, USERS + 8]] = 0  # as training starts them
    return table


def computed(loss, nodes, graph, train_events, batch, *, temperature=None, config=CONFIG, seed=0):
    return LIGHTGCN_LOSSES[loss].compute(
        nodes,
        lightgcn.propagate(nodes, graph, config.layers),
        graph,
        train_events,
        batch,
        config=config,
        temperature=temperature,
        most=8,
        key=jax.random.key(seed),
    )


def reference(loss, table, pairs, batch, temperature, candidates) -> torch.Tensor:
    """The loss event by event, of layer-0 vectors f64[U+I,F]; `candidates` are the drawn items."""
    had = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    had[pairs[:, 0], pairs[:, 1]] = 1
    normal = had / had.sum(1, keepdim=True).clamp(min=1).sqrt() / had.sum(0, keepdim=True).clamp(min=1).sqrt()
    layer, total = table, table
    for _ in range(CONFIG.layers):
        layer = torch.cat([normal @ layer[USERS:], normal.T @ layer[:USERS]])
        total = total + layer
    final = total / (CONFIG.layers + 1)
    user, item = final[:USERS], final[USERS:]
    scores = user @ item.T
    if temperature is not None:
        scores = torch.nn.functional.cosine_similarity(user[:, None], item[None], dim=2) / temperature
    losses = []
    for number, (u, i) in enumerate(pairs[batch]):
        squares = table[u].square().sum() + table[USERS + i].square().sum()
        if loss == "bpr":
            j = candidates[number]
            squares = squares + table[USERS + j].square().sum()
            cross = -torch.nn.functional.logsigmoid(scores[u, i] - scores[u, j])
        else:
            others = [j for j in candidates if not had[u, j] and j != 8]  # nobody has item 8
            cross = torch.logsumexp(scores[u, [i, *others]], 0) - scores[u, i]
        losses.append(cross + CONFIG.regularization / 2 * squares)
    return torch.stack(losses).mean()


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [None, 0.3])
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_as_torch(pairs, graph, train_events, table, loss, temperature) -> None:
    batch = np.random.default_rng(2).permutation(len(pairs))[:16].astype(np.int32)
    (value, _), gradient = jax.value_and_grad(
        lambda nodes: computed(loss, nodes, graph, train_events, batch, temperature=temperature), has_aux=True
    )(arrange(graph, table))
    key, users = jax.random.key(0), train_events.pairs[batch, 0]
    candidates = {
        "bpr": lambda: lightgcn.draw_negatives(train_events, users, ITEMS, key=key),
        "sampled": lambda: jax.random.randint(key, (CONFIG.negatives,), 0, ITEMS),
        "in_batch": lambda: pairs[batch, 1],
        "full": lambda: np.arange(ITEMS),
    }[loss]()
    theirs = torch.tensor(table, dtype=torch.float64, requires_grad=True)
    expected = reference(loss, theirs, pairs, batch, temperature, np.asarray(candidates).tolist())
    (by_node,) = torch.autograd.grad(expected, theirs)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    # Cosines have no gradient at a vector of zeros; PyTorch divides it by a small number instead.
    rows = np.flatnonzero(table.any(axis=1))
    np.testing.assert_allclose(restore(graph, gradient)[rows], by_node[rows], atol=1e-5)


def test_a_softmax_worked_by_hand() -> None:
    """Two users with an item each, layer 0 alone: in the batch, each has the other's item as its only negative."""
    pairs = np.array([[0, 0], [1, 1]], np.int32)
    graph, train_events = jax.tree.map(jnp.asarray, (adjacency(pairs, 2, 2), lightgcn.events(pairs, 2)))
    nodes = arrange(graph, np.array([[3, 0], [0, 2], [5, 0], [4, 4]], np.float32))
    config = dataclasses.replace(CONFIG, layers=0, regularization=0.0)
    value, _ = computed("in_batch", nodes, graph, train_events, jnp.arange(2), temperature=0.5, config=config)
    # Cosines: user 0 has 1 with its item and 1 / sqrt 2 with the other; user 1 has 1 / sqrt 2 and 0.
    expected = [np.log1p(np.exp((2**-0.5 - 1) / 0.5)), np.log1p(np.exp((0 - 2**-0.5) / 0.5))]
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)


def test_items_of_the_user_and_repeats_of_the_target_are_no_negatives() -> None:
    """One user alone has nothing in the batch to be told apart from, so there is nothing to learn."""
    pairs = edges(np.zeros(3, int), np.arange(3), 5)
    graph, train_events = jax.tree.map(jnp.asarray, (adjacency(pairs, 1, 5), lightgcn.events(pairs, 1)))
    nodes = jnp.ones((graph.rows, 2))
    value, parts = computed("in_batch", nodes, graph, train_events, jnp.asarray([0, 1, 2, 1]))
    assert parts["cross_entropy"] == 0
    np.testing.assert_allclose(value, CONFIG.regularization * 2)  # |u|^2 = |i|^2 = 2


@pytest.mark.parametrize("loss", LOSSES)
def test_one_trace_and_finite_gradients(graph, train_events, table, loss) -> None:
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def gradient(nodes, batch, key):
        return jax.grad(
            lambda n: LIGHTGCN_LOSSES[loss].compute(
                n,
                lightgcn.propagate(n, graph, CONFIG.layers),
                graph,
                train_events,
                batch,
                config=CONFIG,
                temperature=0.2,
                most=8,
                key=key,
            )[0]
        )(nodes)

    for seed, nodes in enumerate((arrange(graph, table), jnp.zeros((graph.rows, WIDTH)), 1e3 * arrange(graph, table))):
        chex.assert_tree_all_finite(gradient(nodes, jnp.arange(8) + seed, jax.random.key(seed)))


def test_what_ranks_is_what_the_loss_compares() -> None:
    assert [ranks_by_cosine(loss, CONFIG) for loss in LOSSES] == [False, True, True, True]
    for similarity in ("inner", "cosine"):
        config = dataclasses.replace(CONFIG, similarity=similarity)
        assert all(ranks_by_cosine(loss, config) == (similarity == "cosine") for loss in LOSSES)
    with pytest.raises(ValueError, match="'ssm', which is not one of bpr, sampled, in_batch, full"):
        ranks_by_cosine("ssm", CONFIG)
