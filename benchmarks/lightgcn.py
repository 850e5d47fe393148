"""An epoch of LightGCN, sampling included: gathers alone beside PyTorch's sparse COO product of the public code."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data import beauty_or_generated
from jaxrec.config import LightGcnConfig
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.models import lightgcn
from jaxrec.models.sparse import adjacency, arrange, edges, restore
from jaxrec.training.loop import initial_state, make_step
from jaxrec.training.sharding import single_device_mesh

name = "lightgcn"
reach, aim = 4.0, 6.0

CONFIG = LightGcnConfig()
Case = tuple[Callable[[], object], Callable[[], object], float, str, str]


def cases(quick: bool) -> Case:
    """Beside COO, which LightGCN's public code multiplies by."""
    return beside(quick, "COO")


def beside(quick: bool, layout: str) -> Case:
    """One epoch of each: a batch is some events with a negative each; Adam changes every row of the tables.

    Ours is the step that `fit` jits, called once a batch. The peer does what the public code does: it draws as many
    users as there are events, for each by NumPy an item of theirs and negatives until one is not, then for each batch
    propagates by `torch.sparse.mm`, and stacks and averages the layers.

    Args:
      quick: a small generated world.
      layout: "COO" or "CSR" of the peer's matrix.
    """
    import torch

    split, source = beauty_or_generated(quick)
    n_users, n_items, dim, batch = split.train.n_users, split.train.n_items, CONFIG.dim, CONFIG.batch
    pairs = edges(split.train.users, split.train.items, n_items)
    graph, train_events = jax.tree.map(
        jnp.asarray, (adjacency(pairs, n_users, n_items), lightgcn.events(pairs, n_users))
    )
    steps = math.ceil(len(pairs) / batch)
    table = np.asarray(lightgcn.init(n_users + n_items, dim, key=jax.random.key(0)))
    optimizer = optax.adam(CONFIG.learning_rate)

    def loss(params, buffers, rows, key):
        nodes, (graph, train_events) = params["node"], buffers
        final = lightgcn.propagate(nodes, graph, CONFIG.layers)
        return lightgcn.loss(nodes, final, graph, train_events, rows, regularization=CONFIG.regularization, key=key)

    train_step = jax.jit(make_step(loss, optimizer), donate_argnums=0)

    def ours() -> jax.Array:
        batches = ShuffledBatches(np.arange(len(pairs), dtype=np.int32), batch=batch, batches=steps, seed=1)
        params = {"node": arrange(graph, table)}
        state = initial_state(params, optimizer, jax.random.key(1), single_device_mesh(), ())
        for number in range(steps):
            state, metrics = train_step(state, (graph, train_events), batches[number])
            if number % 8 == 7:  # as `fit`, which reads metrics back
                jax.block_until_ready(metrics)
        return jax.block_until_ready(state.params["node"])

    matrix = _matrix(pairs, n_users, n_items, layout)
    positives = np.split(pairs[:, 1], np.searchsorted(pairs[:, 0], np.arange(1, n_users)))

    def propagated(nodes):
        layers = [nodes]
        for _ in range(CONFIG.layers):
            layers.append(torch.sparse.mm(matrix, layers[-1]))
        return torch.stack(layers, dim=1).mean(dim=1)

    def triples_loss(nodes, triples):
        user, positive, negative = (triples[:, column] for column in range(3))
        positive, negative = positive + n_users, negative + n_users
        final = propagated(nodes)
        margin = (final[user] * final[negative]).sum(1) - (final[user] * final[positive]).sum(1)
        squares = sum(nodes[rows].norm(2).pow(2) for rows in (user, positive, negative)) / 2 / len(triples)
        return torch.nn.functional.softplus(margin).mean() + CONFIG.regularization * squares

    def peer() -> torch.Tensor:
        random = np.random.RandomState(1)
        nodes = torch.tensor(table, requires_grad=True)
        adam = torch.optim.Adam([nodes], lr=CONFIG.learning_rate)
        triples = torch.as_tensor(sample(random, positives, len(pairs), n_items))
        triples = triples[torch.as_tensor(random.permutation(len(triples)))]
        for number in range(steps):
            value = triples_loss(nodes, triples[number * batch : (number + 1) * batch])
            adam.zero_grad()
            value.backward()
            adam.step()
        return nodes.detach()

    triples = sample(np.random.RandomState(0), positives, min(batch, len(pairs)), n_items)
    rows = graph.place[np.concatenate([triples[:, 0], n_users + triples[:, 1], n_users + triples[:, 2]])]

    @jax.jit
    def check(nodes):
        final: jax.Array = lightgcn.propagate(nodes, graph, CONFIG.layers)
        bpr, squares = lightgcn.triple_loss(final[rows], nodes[rows], jnp.ones(len(triples)))
        return bpr + CONFIG.regularization * squares

    mine, gradient = jax.value_and_grad(check)(arrange(graph, table))
    nodes = torch.tensor(table, requires_grad=True)
    theirs = triples_loss(nodes, torch.as_tensor(triples))
    theirs.backward()
    assert nodes.grad is not None
    error = np.abs(np.asarray(restore(graph, gradient)) - nodes.grad.numpy()).max() / nodes.grad.abs().max()
    note = (
        f"{source}, {len(pairs):,} distinct events, {steps} batches of {batch:,}, {CONFIG.layers} layers of {dim}; the "
        f"peer is torch {layout} with {torch.get_num_threads()} threads and sampling in Python; for equal tables and "
        f"triples losses {float(mine):.6f} and {theirs.item():.6f}, gradients within {error:.0e} of their largest"
    )
    return ours, peer, float(len(pairs)), "events", note


def sample(random: np.random.RandomState, positives: list[np.ndarray], count: int, n_items: int) -> np.ndarray:
    """Triples by rejection, one at a time: a user, one of their items, one that is not; i64[n, 3]."""
    triples = []
    for user in random.randint(0, len(positives), count):
        own = positives[user]
        if len(own) == 0:
            continue
        positive = own[random.randint(0, len(own))]
        negative = random.randint(0, n_items)
        while negative in own:
            negative = random.randint(0, n_items)
        triples.append((user, positive, negative))
    return np.array(triples)


def _matrix(pairs: np.ndarray, n_users: int, n_items: int, layout: str):
    """The normalised square adjacency as a torch matrix."""
    import torch

    degrees = np.bincount(pairs[:, 0], minlength=n_users)[pairs[:, 0]], np.bincount(pairs[:, 1])[pairs[:, 1]]
    weights = (np.sqrt(degrees[0]) * np.sqrt(degrees[1])) ** -1.0
    indices = np.concatenate([[pairs[:, 0], pairs[:, 1] + n_users], [pairs[:, 1] + n_users, pairs[:, 0]]], axis=1)
    values = torch.tensor(np.tile(weights, 2), dtype=torch.float32)
    matrix = torch.sparse_coo_tensor(
        torch.tensor(indices, dtype=torch.int64), values, (n_users + n_items,) * 2, check_invariants=True
    ).coalesce()
    return matrix if layout == "COO" else matrix.to_sparse_csr()
