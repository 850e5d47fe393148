"""Retrieval losses by hand, against numpy and scipy, and what they leave out."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy.special import logsumexp

from jaxrec.config import OovConfig, RetrievalConfig, T5Config, TrainConfig
from jaxrec.models import lightgcn, sparse
from jaxrec.models.catalogue_softmax import catalogue_losses, contained, histories_of, softmax_losses
from jaxrec.models.losses import LOSSES
from jaxrec.models.margin_loss import margin_losses
from jaxrec.models.retriever import Retriever
from jaxrec.models.t5 import T5
from jaxrec.types import Batch


def directions(*shape: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_margin_by_hand() -> None:
    """Eq. 20: 1 - s for the positive, and a negative counts only as far as it is above the margin."""
    losses = margin_losses(jnp.asarray([1.0, 0.5, -1.0]), jnp.asarray([0.3, 0.05, -0.9]), 0.1)
    np.testing.assert_allclose(losses, [0.2, 0.5, 2.0], atol=1e-6)


def test_softmax_is_the_cross_entropy_over_what_counts() -> None:
    items, z = directions(9, 4), directions(5, 4, seed=1)
    target = np.array([0, 1, 2, 4, 8])
    cosine = (z @ items.T) / 0.2
    counts = np.random.default_rng(2).random((5, 9)) < 0.6
    counts[np.arange(5), target] = False
    expected = [
        logsumexp([cosine[row, target[row]], *cosine[row, counts[row]]]) - cosine[row, target[row]] for row in range(5)
    ]
    positive = jnp.asarray(0.2 * cosine[np.arange(5), target])
    actual = softmax_losses(positive, jnp.asarray(0.2 * cosine), jnp.asarray(counts), 0.2)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_histories_and_candidates_by_hand() -> None:
    pairs = np.array([[0, 1], [0, 4], [2, 0], [2, 3], [2, 4]], np.int32)
    known = jax.tree.map(jnp.asarray, lightgcn.events(pairs, 3))
    rows = histories_of(known, jnp.asarray([2, 1, 0]), 3)
    np.testing.assert_array_equal(rows, [[0, 3, 4], [-1, -1, -1], [1, 4, -1]])
    actual = contained(jnp.asarray([4, 0, 4, 2]), rows, 5)
    np.testing.assert_array_equal(actual, [[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0]])


def test_candidates_beside_a_loop() -> None:
    rng = np.random.default_rng(3)
    candidates, rows = rng.integers(0, 30, 50), rng.integers(-1, 30, (8, 11))
    actual = jax.jit(contained, static_argnums=2)(candidates, rows, 30)
    np.testing.assert_array_equal(actual, [[item in row for item in candidates] for row in rows.tolist()])


@pytest.mark.parametrize("most_scores", [1, 12, 40, 10**9])
def test_the_softmax_over_a_catalogue_in_blocks_is_the_one_over_all(most_scores: int) -> None:
    """Value and gradients beside PyTorch; one row has no other item, and in some blocks nothing counts."""
    items, z, target = directions(9, 4), directions(5, 4, seed=1), np.array([0, 1, 2, 4, 8])
    present = np.ones(9, bool)
    present[[3, 7]] = False
    excluded = np.array([[0, 5, -1], [1, -1, -1], [6, 2, 0], [4, 4, 8], [8, -1, -1]], np.int32)
    excluded = np.concatenate([excluded, np.full((5, 9), -1, np.int32)], axis=1)
    excluded[4, 3:] = np.arange(9)

    @functools.partial(jax.jit, static_argnums=2)
    @chex.assert_max_traces(n=1)
    def losses(z, items, most):
        positive = jnp.sum(z * items[target], axis=1)
        return catalogue_losses(z, positive, items, present, jnp.asarray(excluded), 0.2, most_scores=most)

    chex.clear_trace_counter()
    actual = losses(z, items, most_scores)
    theirs_z, theirs_items = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (z, items))
    logits = theirs_z @ theirs_items.T / 0.2
    expected = []
    for row in range(5):
        others = [i for i in range(9) if present[i] and i not in excluded[row]]
        chosen = logits[row, [target[row], *others]]
        expected.append(torch.logsumexp(chosen, 0) - chosen[0])
    assert expected[4] == 0
    np.testing.assert_allclose(actual, torch.stack(expected).detach(), atol=1e-5)
    gradients = jax.grad(lambda z, items: losses(z, items, most_scores).mean(), argnums=(0, 1))(z, items)
    chex.assert_tree_all_finite(gradients)
    for ours, theirs in zip(gradients, torch.autograd.grad(sum(expected) / 5, (theirs_z, theirs_items))):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_memory_is_bounded_by_a_block_and_not_by_the_catalogue() -> None:
    """Compiled, not run: 512 rows of 200,000 items are 400 MB of scores; a block of 2^20 scores is 4 MB."""
    shapes = [((512, 8), jnp.float32), ((512,), jnp.float32), ((200_000, 8), jnp.float32), ((200_000,), bool)]
    arguments = [jax.ShapeDtypeStruct(*shape) for shape in [*shapes, ((512, 16), jnp.int32)]]

    def mean(z, positive, items, present, excluded):
        return catalogue_losses(z, positive, items, present, excluded, 0.1, most_scores=2**20).mean()

    compiled = jax.jit(jax.grad(mean, argnums=(0, 2))).lower(*arguments).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100e6


def model_and_batch(loss: str, mask_known: bool = True) -> tuple[Retriever, Batch]:
    rngs = nnx.Rngs(params=jax.random.key(0))
    shape = T5Config(vocab=32, d_model=8, d_kv=4, heads=2, d_ff=16, encoder_layers=1, decoder_layers=1, dropout=0.0)
    t5 = T5(shape, OovConfig(scope="none"), None, 30, rngs=rngs)
    pairs = np.array([[0, 0], [0, 2], [1, 1], [2, 3], [2, 4]], np.int32)
    known = lightgcn.events(sparse.edges(pairs[:, 0], pairs[:, 1], 6), 3)
    config = RetrievalConfig(loss=loss, hidden=8, negatives=4, mask_known=mask_known)
    model = Retriever(t5, config, np.array([3], np.int32), directions(6, 4), directions(3, 4, seed=5), known, rngs=rngs)
    source = np.array([[4, 5, 1, 6, 7, 1], [8, 9, 2, 1, 0, 0]], np.int32)
    segments = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0]], np.int32)
    target = np.array([[0, 0, 1, 1], [3, 2, 0, 0]], np.int32)
    weights = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.float32)
    return model, jax.tree.map(jnp.asarray, Batch(source, segments, target, (target > -1).astype(np.int32), weights))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["margin", "sampled", "full"])
def test_empty_slots_do_not_count_and_gradients_are_finite(loss: str) -> None:
    model, batch = model_and_batch(loss)
    chex.clear_trace_counter()
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @chex.assert_max_traces(n=1)
    def value(params, batch):
        return LOSSES[loss].make(TrainConfig())(nnx.merge(graph, params, rest), batch, jax.random.key(1))[0]

    step = jax.jit(jax.value_and_grad(value))
    one, gradients = step(params, batch)
    chex.assert_tree_all_finite((one, gradients))
    other = dataclasses.replace(batch, target=batch.target.at[1, 2:].set(jnp.asarray([5, 1])))
    np.testing.assert_allclose(step(params, other)[0], one, rtol=1e-6)
    nobody = dataclasses.replace(batch, weights=jnp.zeros_like(batch.weights))
    assert step(params, nobody)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("mask_known", [True, False])
def test_loss_is_the_mean_over_examples_and_known_items_are_no_negatives(mask_known: bool) -> None:
    model, batch = model_and_batch("full", mask_known)
    actual, metrics = LOSSES["full"].make(TrainConfig())(model, batch)
    z = np.asarray(model(batch.source, batch.source_segments, 2), np.float64).reshape(4, -1)[[0, 1, 2]]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    cosine = z @ np.asarray(model.items[...], np.float64)[:6].T
    target, had = [0, 1, 3], [[0, 2], [1], [3, 4]]  # of users 0, 1 and 2
    losses = []
    for row in range(3):
        others = [i for i in range(6) if i not in had[row] or i == target[row] or not mask_known]
        losses.append(logsumexp(cosine[row, others] / 0.07) - cosine[row, target[row]] / 0.07)
    np.testing.assert_allclose(actual, np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(metrics["cosine"], np.mean([cosine[r, t] for r, t in enumerate(target)]), atol=1e-5)
