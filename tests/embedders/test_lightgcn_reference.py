"""MF and LightGCN trained beside a small PyTorch program of their own: the same steps, tables and rankings."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from jaxrec.config import LightGcnConfig
from jaxrec.embedders.inner_product import InnerProductScorer
from jaxrec.embedders.lightgcn import fit_lightgcn, propagate
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.types import Histories

USERS, ITEMS, WIDTH = 40, 25, 6
CONFIG = LightGcnConfig(dim=WIDTH, batch=32, learning_rate=0.01, regularization=1e-2, epochs=4)


@pytest.fixture(scope="module")
def histories() -> Histories:
    rng = np.random.default_rng(0)
    rows = [rng.choice(ITEMS, rng.integers(3, 9), replace=False) for _ in range(USERS)]
    return Histories(np.cumsum([0, *map(len, rows)]), np.concatenate(rows).astype(np.int32), ITEMS)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [0, 2])
def test_training_beside_pytorch(histories: Histories, layers: int) -> None:
    config = dataclasses.replace(CONFIG, layers=layers)
    actual = fit_lightgcn(histories, config, seed=3)

    # What is drawn is taken over; the graph, the loss, its gradient and Adam are PyTorch's and this test's.
    pairs = np.unique(np.stack([histories.users, histories.items], axis=1), axis=0)
    key = stream(jax.random.key(3), "lightgcn")
    table = lightgcn.init(USERS + ITEMS, WIDTH, key=stream(key, "tables"))
    table = torch.tensor(np.asarray(table), requires_grad=True)
    steps = -(-4 * len(pairs) // 32)
    batches = ShuffledBatches(np.arange(len(pairs), dtype=np.int32), batch=32, batches=steps, seed=3)
    train_events = jax.tree.map(jax.numpy.asarray, lightgcn.events(pairs, USERS))

    bought = torch.zeros(USERS, ITEMS)
    bought[pairs[:, 0], pairs[:, 1]] = 1
    normal = bought / bought.sum(1, keepdim=True).clamp(min=1).sqrt() / bought.sum(0, keepdim=True).clamp(min=1).sqrt()
    graph = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    graph[:USERS, USERS:], graph[USERS:, :USERS] = normal, normal.T

    def propagated() -> torch.Tensor:
        layer, total = table, table
        for _ in range(layers):
            layer = graph @ layer
            total = total + layer
        return total / (layers + 1)

    adam = torch.optim.Adam([table], lr=0.01)
    for step in range(steps):
        users, items = (torch.tensor(column).long() for column in pairs[batches[step]].T)
        step_key = jax.random.fold_in(stream(key, "steps"), step)
        drawn = lightgcn.draw_negatives(train_events, users.numpy().astype(np.int32), ITEMS, key=step_key)
        negatives = torch.tensor(np.asarray(drawn)).long()
        assert not bought[users, negatives].any()
        final = propagated()
        margin = (final[users] * (final[USERS + items] - final[USERS + negatives])).sum(1)
        rows = torch.cat([table[users], table[USERS + items], table[USERS + negatives]], dim=1)
        loss = -torch.nn.functional.logsigmoid(margin).mean() + 1e-2 / 2 * rows.square().sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    expected, tables = propagated().detach(), table.detach()
    np.testing.assert_allclose(actual.tables.user, tables[:USERS], atol=2e-4)
    np.testing.assert_allclose(actual.tables.item, tables[USERS:], atol=2e-4)
    np.testing.assert_allclose(actual.vectors.item, expected[USERS:], atol=2e-4)
    assert (
        np.abs(
            actual.tables.item - np.asarray(lightgcn.init(USERS + ITEMS, WIDTH, key=stream(key, "tables")))[USERS:]
        ).max()
        > 0.05
    )
    scores = InnerProductScorer(propagate(actual.tables, histories, layers))(histories, np.arange(USERS))
    np.testing.assert_allclose(scores, expected[:USERS] @ expected[USERS:].T, atol=1e-3)
