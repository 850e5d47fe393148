"""The T5 that answers with a vector: packed rows, pooling, and where item vectors are placed."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import OovConfig, RetrievalConfig, T5Config
from jaxrec.models import lightgcn
from jaxrec.models.retriever import Projection, Retriever
from jaxrec.models.t5 import T5
from jaxrec.models.unit import unit

SHAPE = T5Config(vocab=64, d_model=16, d_kv=8, heads=2, d_ff=32, encoder_layers=2, decoder_layers=2, dropout=0.0)
ITEMS = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32) * np.linspace(0.2, 3, 10)[:, None]

USERS = np.random.default_rng(3).normal(size=(1, 6)).astype(np.float32)
KNOWN = lightgcn.events(np.array([[0, 1]], np.int32), 1)


def make(**changed) -> Retriever:
    rngs = nnx.Rngs(params=jax.random.key(0))
    t5 = T5(SHAPE, OovConfig(scope="none"), None, 60, rngs=rngs)
    config = dataclasses.replace(RetrievalConfig(hidden=12), **changed)
    return Retriever(t5, config, np.array([5, 6, 7], np.int32), ITEMS, USERS, KNOWN, rngs=rngs)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_packed_rows_answer_as_single_ones(pooling: str) -> None:
    model = make(pooling=pooling)
    draw = np.random.default_rng(1)
    examples = [draw.integers(2, 60, n).astype(np.int32) for n in (5, 9, 3)]
    row, segments = np.zeros((2, 1, 24), np.int32)
    start = 0
    for number, tokens in enumerate(examples, start=1):
        row[0, start : start + len(tokens)], segments[0, start : start + len(tokens)] = tokens, number
        start += len(tokens)
    packed = model(jnp.asarray(row), jnp.asarray(segments), 5)
    chex.assert_shape(packed, (1, 5, 6))
    chex.assert_tree_all_finite(packed)
    for slot, tokens in enumerate(examples):
        alone = model(jnp.asarray(np.pad(tokens, (0, 4))[None]))
        np.testing.assert_allclose(packed[0, slot], alone[0, 0], atol=2e-5)


@pytest.mark.slow
def test_mean_pools_over_all_positions_of_the_decoder() -> None:
    """The answer is the projection of the mean of the hidden states that `decode` gives for start and prompt."""
    model = make()
    source = jnp.asarray([[9, 8, 7, 1, 0]])
    ones = (source != 0).astype(jnp.int32)
    hidden = model.backbone.decode(jnp.asarray([[0, 5, 6, 7]]), model.backbone.encode(source, ones), ones)
    expected = model.project(hidden.mean(axis=1)[:, None])
    np.testing.assert_allclose(model(source), expected, atol=1e-5)


def test_projection_by_hand() -> None:
    project = Projection(3, 4, 2, "float32", rngs=nnx.Rngs(params=jax.random.key(1)))
    project.first_bias[...] = jnp.linspace(-1.0, 1.0, 4)
    x = np.array([[[1.0, -2.0, 0.5]]], np.float32)
    hidden = x[0, 0]
    for kernel, bias in ((project.first, project.first_bias), (project.second, project.second_bias)):
        hidden = np.maximum(hidden @ np.asarray(kernel[...]) + np.asarray(bias[...]), 0)
    np.testing.assert_allclose(project(jnp.asarray(x))[0, 0], hidden @ np.asarray(project.third[...]), rtol=1e-5)


def test_places_keep_the_order_of_the_inner_product() -> None:
    """A cosine with [z, 0] ranks placed items as z ranks them by inner product, and equals <z, q> / (|z| R)."""
    model = make(similarity="inner")
    placed = np.asarray(model.place(ITEMS))
    np.testing.assert_allclose(np.linalg.norm(placed, axis=1), 1, atol=1e-5)
    z = np.random.default_rng(2).normal(size=6)
    radius = np.linalg.norm(ITEMS, axis=1).max()
    np.testing.assert_allclose(
        placed @ np.append(z, 0) / np.linalg.norm(z), ITEMS @ z / (np.linalg.norm(z) * radius), atol=1e-5
    )
    longer = np.asarray(model.place(np.concatenate([ITEMS[:1] * 100, np.zeros((1, 6), np.float32)])))
    np.testing.assert_allclose(np.linalg.norm(longer, axis=1), [1, 0], atol=1e-5)
    chex.assert_shape(model(jnp.ones((1, 4), jnp.int32)), (1, 1, 7))


def test_cosine_places_are_directions() -> None:
    model = make()
    with_zeros = np.concatenate([ITEMS, np.zeros((1, 6), np.float32)])
    placed = np.asarray(model.place(with_zeros))
    np.testing.assert_allclose(placed[:-1], ITEMS / np.linalg.norm(ITEMS, axis=1, keepdims=True), atol=1e-6)
    assert not placed[-1].any()
    assert model.items[...].shape == (128, 6)
    assert not np.asarray(model.items[...])[10:].any()


def test_unit_has_finite_gradients_at_zero() -> None:
    gradient = jax.grad(lambda x: unit(x).sum())(jnp.zeros((2, 3)))
    chex.assert_tree_all_finite(gradient)
