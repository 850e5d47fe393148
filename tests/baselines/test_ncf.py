"""NeuMF: pairs beside a loop in NumPy, all items at once beside pairs, and the loss beside PyTorch."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from jaxrec.baselines.ncf import NcfConfig, NeuMf, ncf_loss
from jaxrec.models.lightgcn import draw_negatives, events

USERS, ITEMS = 5, 9


@pytest.fixture(scope="module")
def model() -> NeuMf:
    pairs = np.array([[0, 1], [0, 4], [1, 2], [2, 8], *([3, i] for i in range(ITEMS))], np.int32)
    config = NcfConfig(dim=4, hidden=(6, 5, 3), negatives=2)
    model = NeuMf(config, USERS, ITEMS, events(pairs, USERS), rngs=nnx.Rngs(0))
    for layer in [*model.layers, model.output]:
        layer.bias[...] = jax.random.normal(jax.random.key(layer.bias.size), layer.bias.shape)
    return model


def test_pairs_beside_a_loop(model: NeuMf) -> None:
    users, items = np.array([0, 3, 4]), np.array([8, 0, 5])
    actual = model(users, items)

    def read(x):
        return np.asarray(x[...], np.float64)

    for place, (u, i) in enumerate(zip(users, items)):
        inner = np.concatenate([read(model.user_inner_embedding)[u], read(model.item_inner_embedding)[i]])
        for layer in model.layers:
            inner = np.maximum(inner @ read(layer.kernel) + read(layer.bias), 0)
        both = np.concatenate([read(model.user_embedding)[u] * read(model.item_embedding)[i], inner])
        expected = both @ read(model.output.kernel)[:, 0] + read(model.output.bias)[0]
        np.testing.assert_allclose(actual[place], expected, rtol=1e-5, atol=1e-6)


def test_all_items_at_once_are_the_pairs(model: NeuMf) -> None:
    users = np.array([4, 0])
    actual = jax.jit(lambda model, users: model.scores(users))(model, users)
    expected = model(np.repeat(users, ITEMS), np.tile(np.arange(ITEMS), 2)).reshape(2, ITEMS)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.slow
def test_the_loss_is_pytorchs(model: NeuMf) -> None:
    batch, key, train_events = np.array([0, 2, 3, 6]), jax.random.key(3), model.known.get_value()
    users, items = np.asarray(train_events.pairs)[batch].T
    # User 3 has every item, so no negative of theirs counts.
    drawn = np.asarray(draw_negatives(train_events, np.tile(users, 2), ITEMS, key=jax.random.fold_in(key, 1)))
    kept = np.tile(users, 2) != 3
    all_users, all_items = np.append(users, np.tile(users, 2)[kept]), np.append(items, drawn[kept])
    positives = {(u, i) for u, i in np.asarray(train_events.pairs)}
    assert not any((u, i) in positives for u, i in zip(np.tile(users, 2)[kept], drawn[kept]))
    labels = torch.tensor([1.0] * 4 + [0.0] * int(kept.sum()))
    logits = torch.tensor(np.asarray(model(all_users, all_items)))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    np.testing.assert_allclose(ncf_loss(model, batch, key)[0], expected, rtol=1e-5)
