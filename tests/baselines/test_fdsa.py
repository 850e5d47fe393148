"""FDSA beside a PyTorch module with the same weights, packing, and items without attributes."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from jaxrec.baselines.fdsa import BASELINE, Fdsa, FdsaConfig
from jaxrec.baselines.next_item_model import next_item_loss
from jaxrec.baselines.sasrec import SasRec
from jaxrec.config import WorldConfig
from jaxrec.data.attributes import attributes_of
from jaxrec.data.split import make_split
from jaxrec.data.synthetic import generate_world
from jaxrec.training.state import functional
from jaxrec.types import Batch

CONFIG = FdsaConfig(dim=8, length=6, dropout=0.0, heads=2, inner=12, compute_dtype="float32")
VALUES = [["a", "b"], [], ["c"], ["a", "c", "d"], ["d"], ["b"], ["a"], ["b", "d"], ["c"]]
ATTRIBUTES = attributes_of({"genre": VALUES, "brand": [["x"] if n > 2 else [] for n in range(len(VALUES))]})


@pytest.fixture(scope="module")
def model() -> Fdsa:
    model = Fdsa(CONFIG, len(VALUES), ATTRIBUTES, rngs=nnx.Rngs(0))
    for _, value in nnx.iter_graph(model):  # biases and norms start at 0 and 1, where mistakes hide
        if isinstance(value, nnx.Param):
            value[...] = value[...] + 0.3 * jax.random.normal(jax.random.key(value.size), value.shape)
    return model


def tensor(value) -> torch.Tensor:
    return torch.tensor(np.array(value[...]))


def stack(model: SasRec, x: torch.Tensor) -> torch.Tensor:
    """SASRec's blocks in PyTorch over vectors [S, D]."""
    x = x * 8**0.5 + tensor(model.position_embedding)[: len(x)]
    causal = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)

    def norm(layer, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(x, (8,), tensor(layer.scale), tensor(layer.bias), eps=1e-6)

    def linear(layer, x: torch.Tensor) -> torch.Tensor:
        return x @ tensor(layer.kernel) + tensor(layer.bias)

    for block in model.blocks:
        y = norm(block.attention_norm, x)
        q, k, v = (linear(layer, y).view(-1, 2, 4).transpose(0, 1) for layer in (block.query, block.key, block.value))
        weights = (q @ k.transpose(1, 2) / 2).masked_fill(causal, -torch.inf).softmax(dim=-1)
        x = x + linear(block.output, (weights @ v).transpose(0, 1).reshape(-1, 8))
        x = x + linear(block.narrow, torch.relu(linear(block.wide, norm(block.feed_norm, x))))
    return norm(model.norm, x)


def expected_vectors(model: Fdsa, tokens: list[int]) -> torch.Tensor:
    """The paper's section 3 for one history, item by item."""
    features = []
    for token in tokens:
        values = ATTRIBUTES.of(token - 1)
        vectors = tensor(model.of_values.item_embedding)[values.tolist()]
        scores = (vectors * 8**0.5) @ tensor(model.importance.kernel) + tensor(model.importance.bias)
        features.append((scores.softmax(dim=0) * vectors).sum(dim=0))
    of_items = stack(model.of_items, tensor(model.of_items.item_embedding)[[t - 1 for t in tokens]])
    of_values = stack(model.of_values, torch.stack(features))
    return torch.cat([of_items, of_values], dim=1) @ tensor(model.joined.kernel) + tensor(model.joined.bias)


@pytest.mark.slow
def test_vectors_are_those_of_pytorch_and_sequences_of_a_row_do_not_meet(model: Fdsa) -> None:
    one, two = [4, 2, 1], [9, 3, 3, 8]
    packed = model(np.array([one + two + [0]]), np.array([[1] * 3 + [2] * 4 + [0]]))[0]
    np.testing.assert_allclose(packed[:3], expected_vectors(model, one), atol=1e-5)
    np.testing.assert_allclose(packed[3:7], expected_vectors(model, two), atol=1e-5)


@pytest.mark.slow
def test_an_item_without_attributes_has_no_feature(model: Fdsa) -> None:
    features = np.asarray(model.features(np.array([[2, 3, 0]])))
    np.testing.assert_array_equal(features[0, 0], np.zeros(8))
    np.testing.assert_allclose(
        features[0, 1], np.asarray(model.of_values.items)[ATTRIBUTES.of(2)[0]], rtol=1e-6
    )  # one value has all the weight


@pytest.mark.slow
def test_no_more_values_are_read_than_are_set() -> None:
    model = Fdsa(dataclasses.replace(CONFIG, values=1), len(VALUES), ATTRIBUTES, rngs=nnx.Rngs(0))
    assert model.values.shape == (len(VALUES), 1)
    np.testing.assert_allclose(
        model.features(np.array([[4]]))[0, 0], np.asarray(model.of_values.items)[ATTRIBUTES.of(3)[0]], rtol=1e-6
    )


@pytest.mark.slow
def test_gradients_are_finite_and_reach_all_weights(model: Fdsa) -> None:
    source, target = np.array([[3, 7, 2, 5, 0]]), np.array([[7, 1, 4, 6, 0]])
    segments = np.array([[1, 1, 1, 2, 0]])
    batch = Batch(source, segments, target, segments, (segments > 0).astype(np.float32))
    params, buffers, loss = functional(model, next_item_loss)
    gradients = jax.jit(jax.grad(lambda p: loss(p, buffers, batch, None)[0]))(params)
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), path
        assert "key" in str(path) or np.abs(gradient).max() > 0, path  # a bias of keys moves no weight of attention
    assert any("of_values" in str(path) for path, _ in jax.tree.leaves_with_path(gradients))


@pytest.mark.slow
def test_it_trains_resumes_and_wants_attributes(tmp_path: pathlib.Path) -> None:
    split = make_split(generate_world(WorldConfig(users=60, items=60, events_per_user=8.0, tastes=4), seed=0))
    settings = dataclasses.replace(CONFIG, layers=1, epochs=1, validate_every=1, length=16, rows=8, row_length=32)
    users, histories = np.arange(20), split.history("test")
    score = BASELINE.train(settings, split, 0, tmp_path)
    assert np.isfinite(score(histories, users)).all()
    again = BASELINE.train(settings, split, 0, tmp_path)  # finished: its weights are read
    np.testing.assert_array_equal(again(histories, users), score(histories, users))
    with pytest.raises(ValueError, match="FDSA learns from attributes of items, and this data has none; name the file"):
        BASELINE.train(settings, dataclasses.replace(split, attributes=None), 0, tmp_path / "other")
