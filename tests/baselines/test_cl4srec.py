"""CL4SRec: views beside a loop, the contrast beside PyTorch's cross-entropy, packed sequences beside those alone."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxrec.baselines.cl4srec import (
    CROP,
    MASK,
    REORDER,
    Cl4SRec,
    Cl4SRecConfig,
    Draws,
    cl4srec_loss,
    contrast_loss,
    draw_view,
    make_view,
)
from jaxrec.baselines.next_item_model import next_item_loss
from jaxrec.keys import stream
from jaxrec.types import Batch

CONFIG = Cl4SRecConfig(
    dim=8, length=8, dropout=0.0, heads=2, inner=12, compute_dtype="float32", crop=0.5, mask=0.4, reorder=0.75
)
ITEMS, HIDDEN = 30, 31


def packed(*rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and segments of rows of sequences, of 16 places each."""
    tokens, segments = np.zeros((2, len(rows), 16), np.int32)
    for number, row in enumerate(rows):
        flat = [(token, segment) for segment, sequence in enumerate(row, start=1) for token in sequence]
        tokens[number, : len(flat)], segments[number, : len(flat)] = zip(*flat, strict=True)
    return tokens, segments


SEQUENCES = (
    [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11], [12], [13, 14, 15, 16]],
    [[17], [18, 19, 20, 21, 22, 23, 24]],
    [[25, 26], [27, 28, 29, 30, 1]],
)
TOKENS, SEGMENTS = packed(*SEQUENCES)


def view_of(sequence: list[int], operator: np.float32, part: np.float32, order: np.ndarray) -> list[int]:
    """The view of a sequence, step by step, from its random numbers."""
    n, operation = len(sequence), int(operator * 3)
    if operation == CROP:
        count = max(int(np.float32(CONFIG.crop) * n), 1)
        begin = int(part * (n - count + 1))
        return sequence[begin : begin + count]
    if operation == MASK:
        hidden = np.argsort(order)[: int(np.float32(CONFIG.mask) * n)]
        return [HIDDEN if place in hidden else token for place, token in enumerate(sequence)]
    count = int(np.float32(CONFIG.reorder) * n)
    begin = int(part * (n - count + 1))
    shuffled = [sequence[begin + i] for i in np.argsort(order[begin : begin + count])]
    return sequence[:begin] + shuffled + sequence[begin + count :]


def views_apart(draws: Draws) -> list[list[int]]:
    """The views of all sequences, in order."""
    operators, parts, orders = (np.asarray(x) for x in draws)
    views = []
    for row, sequences in enumerate(SEQUENCES):
        first = 0
        for sequence in sequences:
            here = slice(first, first + len(sequence))
            views.append(view_of(sequence, operators[row, first], parts[row, first], orders[row, here]))
            first += len(sequence)
    return views


def test_views_are_those_of_a_loop() -> None:
    operators = set()
    make = jax.jit(lambda key: (draws := draw_view((3, 16), key), make_view(TOKENS, SEGMENTS, CONFIG, HIDDEN, draws)))
    for seed in range(20):
        draws, (tokens, segments, last) = jax.tree.map(np.asarray, make(jax.random.key(seed)))
        actual = []
        for row, sequences in enumerate(SEQUENCES):
            for segment in range(1, len(sequences) + 1):
                at, whole = (np.flatnonzero(x[row] == segment) for x in (segments, SEGMENTS))
                np.testing.assert_array_equal(np.diff(at), 1)
                np.testing.assert_array_equal(last[row, whole], at[-1])
                actual.append(tokens[row, at].tolist())
                operators.add(int(3 * draws.operator[row, whole[0]]))
        assert actual == views_apart(Draws(*draws))
        np.testing.assert_array_equal(tokens[segments == 0], 0)
    assert operators == {CROP, MASK, REORDER}


@pytest.mark.parametrize("operator", [CROP, MASK, REORDER])
def test_an_operator_changes_its_share_anywhere_in_a_sequence(operator: int) -> None:
    row, segments = np.tile(np.arange(1, 11), (4000, 1)), np.ones((4000, 10), int)
    draws = draw_view(row.shape, jax.random.key(operator))
    draws = draws._replace(operator=jnp.full(row.shape, (operator + 0.5) / 3))
    view = make_view(row, segments, Cl4SRecConfig(), 99, draws)
    tokens = np.asarray(view.tokens)
    if operator == CROP:
        assert (np.sort(tokens, axis=1)[:, :4] == 0).all()
        starts = (tokens > 0).argmax(axis=1)
        np.testing.assert_allclose(np.bincount(starts, minlength=5) / 4000, 1 / 5, atol=0.03)
    elif operator == MASK:
        np.testing.assert_array_equal((tokens == 99).sum(axis=1), 3)
        np.testing.assert_allclose((tokens == 99).mean(axis=0), 0.3, atol=0.03)
    else:
        np.testing.assert_array_equal(np.sort(tokens, axis=1), row)
        moved = tokens != row
        spans = 10 - moved[:, ::-1].argmax(axis=1) - moved.argmax(axis=1)
        assert spans[moved.any(axis=1)].max() == 6
        assert moved.any(axis=0).all()
    unchanged = make_view(row, segments, Cl4SRecConfig(crop=1.0, mask=0.0, reorder=0.0), 99, draws)
    np.testing.assert_array_equal(unchanged.tokens, row)


def cross_entropy_of_views(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """SimCLR's loss by PyTorch: a row of similarities for each view, its own taken out."""
    vectors = torch.cat([torch.tensor(one), torch.tensor(other)])
    similar = vectors @ vectors.T / temperature
    similar.fill_diagonal_(float("-inf"))
    return float(torch.nn.functional.cross_entropy(similar, torch.arange(len(vectors)).roll(len(one))))


@pytest.mark.slow
def test_the_contrast_is_pytorchs_cross_entropy_and_absent_sequences_do_not_count() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 150, 8)).astype(np.float32)
    present = np.arange(150) < 130  # more than a block
    actual = contrast_loss(jnp.asarray(one), jnp.asarray(other), jnp.asarray(present), 0.7)
    np.testing.assert_allclose(actual, cross_entropy_of_views(one[:130], other[:130], 0.7), rtol=1e-5)
    shuffled = np.random.default_rng(1).permutation(150)
    again = contrast_loss(jnp.asarray(other[shuffled]), jnp.asarray(one[shuffled]), jnp.asarray(present[shuffled]), 0.7)
    np.testing.assert_allclose(again, actual, rtol=1e-5)
    for few in (0, 1):
        value, gradient = jax.value_and_grad(contrast_loss)(
            jnp.asarray(one), jnp.asarray(other), jnp.asarray(np.arange(150) < few), 0.7
        )
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.fixture(scope="module")
def model() -> Cl4SRec:
    model = Cl4SRec(CONFIG, ITEMS, rngs=nnx.Rngs(0))
    for _, value in nnx.iter_graph(model):
        if isinstance(value, nnx.Param):
            value[...] = value[...] + 0.3 * jax.random.normal(jax.random.key(value.size), value.shape)
    return model


TARGETS = np.where(SEGMENTS > 0, TOKENS % ITEMS + 1, 0)
BATCH = Batch(TOKENS, SEGMENTS, TARGETS, SEGMENTS, (SEGMENTS > 0).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["inner", "cosine"])
def test_the_loss_of_packed_sequences_is_that_of_each_alone(model: Cl4SRec, similarity: str) -> None:
    model.config = dataclasses.replace(CONFIG, similarity=similarity, temperature=0.5)
    key = jax.random.key(3)
    encode = jax.jit(lambda model, rows: model(rows, (rows > 0).astype(int)))
    vectors = []
    for name in ("first view", "second view"):
        views = views_apart(draw_view(TOKENS.shape, stream(key, name)))
        long = [view for view, whole in zip(views, itertools.chain(*SEQUENCES), strict=True) if len(whole) > 1]
        rows = np.array([view + [0] * (8 - len(view)) for view in long])
        alone = np.asarray(encode(model, rows))[np.arange(len(long)), [len(view) - 1 for view in long]]
        norms = np.linalg.norm(alone, axis=1, keepdims=True) if similarity == "cosine" else 1
        vectors.append(alone / norms)
    loss, metrics = jax.jit(cl4srec_loss)(model, BATCH, key)
    expected = cross_entropy_of_views(*vectors, 0.5)
    np.testing.assert_allclose(metrics["contrastive"], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["next_item"], jax.jit(next_item_loss)(model, BATCH)[0], rtol=1e-5)
    np.testing.assert_allclose(loss, metrics["next_item"] + 0.1 * expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_gradients_are_finite_and_a_key_decides_all(model: Cl4SRec, loss: str) -> None:
    config = dataclasses.replace(CONFIG, loss=loss, dropout=0.2)
    model = Cl4SRec(config, ITEMS, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    step = jax.jit(jax.value_and_grad(lambda p, b, k: cl4srec_loss(nnx.merge(graph, p, rest), b, k), has_aux=True))
    single = np.where(np.arange(16)[None] == 0, BATCH.source_segments, 0)  # nothing to contrast
    lonely = Batch(TOKENS * single, single, TARGETS * single, single, single.astype(np.float32))
    empty = Batch(*(np.zeros_like(x) for x in (TOKENS, TOKENS, TOKENS, TOKENS)), np.zeros(TOKENS.shape, np.float32))
    for batch in (BATCH, lonely, empty):
        (value, metrics), gradients = step(params, batch, jax.random.key(1))
        assert np.isfinite(value)
        assert all(np.isfinite(gradient).all() for gradient in jax.tree.leaves(gradients))
        assert (metrics["contrastive"] > 0) == (batch is BATCH)
    one, same, other = (step(params, BATCH, jax.random.key(k))[0][0] for k in (1, 1, 2))
    assert one == same != other


def test_the_hiding_token_is_never_recommended(model: Cl4SRec) -> None:
    assert model.items.shape == (ITEMS, 8)
    assert model.mask_token == HIDDEN
    rows = np.array([[1, ITEMS, 3], [1, HIDDEN, 3]])
    plain, hidden = jax.jit(Cl4SRec.__call__)(model, rows, np.ones_like(rows))
    assert (np.abs(plain - hidden)[1:] > 1e-4).any()
