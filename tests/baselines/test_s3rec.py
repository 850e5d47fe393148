"""S3-Rec: each loss of pretraining beside a loop, what is masked, packing, and training in two stages."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrec.baselines import s3rec
from jaxrec.baselines.s3rec import S3Rec, S3RecConfig, draw_masks, draw_parts, last_positions, pretraining_loss
from jaxrec.config import WorldConfig
from jaxrec.data.attributes import attributes_of
from jaxrec.data.split import make_split
from jaxrec.data.synthetic import generate_world
from jaxrec.training.state import functional
from jaxrec.types import Batch

CONFIG = S3RecConfig(dim=8, length=8, dropout=0.0, heads=2, inner=12, compute_dtype="float32")
VALUES = [["a", "b"], [], ["c"], ["a", "c", "d"], ["d"], ["b"], ["a"], ["a", "b", "c", "d", "e"], ["c"]]
ATTRIBUTES = attributes_of({"genre": VALUES})
TOKENS = np.array([[4, 2, 1, 9, 3, 0, 0, 0], [8, 3, 5, 7, 6, 1, 2, 0]])
SEGMENTS = np.array([[1, 1, 1, 2, 2, 0, 0, 0], [1, 1, 1, 1, 1, 1, 2, 0]])
WHERE = np.array([[0, 1, 1, 0, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0, 1, 0]], bool)


@pytest.fixture(scope="module")
def model() -> S3Rec:
    model = S3Rec(CONFIG, len(VALUES), ATTRIBUTES, rngs=nnx.Rngs(0))
    for _, value in nnx.iter_graph(model):  # biases and norms start at 0 and 1, where mistakes hide
        if isinstance(value, nnx.Param):
            value[...] = value[...] + 0.3 * jax.random.normal(jax.random.key(value.size), value.shape)
    return model


def hidden(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 8, 8)).astype(np.float32)


def mapped(layer, x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def expected_values_loss(model: S3Rec, vectors: np.ndarray) -> float:
    """Position by position: for each value of the item it against it and the values that the item lacks."""
    table = np.asarray(model.value_embedding[...], np.float64)
    means = []
    for row, place in zip(*np.nonzero(WHERE)):
        own = set(ATTRIBUTES.of(TOKENS[row, place] - 1).tolist())
        scores = table @ vectors[row, place]
        each = []
        for value in own:
            rivals = [scores[value], *(scores[v] for v in range(len(table)) if v not in own)]
            each.append(np.log(np.exp(rivals).sum()) - scores[value])
        if each:
            means.append(np.mean(each))
    assert len(means) == 4, "two of the six positions have an item without values"
    return float(np.mean(means))


@pytest.mark.slow
def test_own_attributes_are_told_from_the_embedding(model: S3Rec) -> None:
    items = np.asarray(model.items)[TOKENS - 1] * 8**0.5
    expected = expected_values_loss(model, mapped(model.to_own_values, items))
    np.testing.assert_allclose(s3rec.own_attribute_loss(model, TOKENS, WHERE), expected, rtol=1e-5)


@pytest.mark.slow
def test_attributes_of_masked_items_are_told_from_the_context(model: S3Rec) -> None:
    expected = expected_values_loss(model, mapped(model.to_values, hidden(0)))
    np.testing.assert_allclose(s3rec.masked_attribute_loss(model, hidden(0), TOKENS, WHERE), expected, rtol=1e-5)


@pytest.mark.slow
def test_masked_items_are_told_from_the_context(model: S3Rec) -> None:
    vectors, items = mapped(model.to_item, hidden(1)), np.asarray(model.items, np.float64)
    each = []
    for row, place in zip(*np.nonzero(WHERE)):
        scores = items @ vectors[row, place]
        each.append(np.log(np.exp(scores).sum()) - scores[TOKENS[row, place] - 1])
    np.testing.assert_allclose(s3rec.masked_item_loss(model, hidden(1), TOKENS, WHERE), np.mean(each), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("most", [1024, 3])
def test_segments_are_told_from_those_of_the_batch(model: S3Rec, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3rec, "MOST_SEGMENTS", most)
    context, part = mapped(model.to_segment, hidden(2)), hidden(3).astype(np.float64)
    places = list(zip(*np.nonzero(WHERE)))[:most]
    each = []
    for own in places:
        scores = [context[own] @ part[other] for other in places]
        each.append(np.log(np.exp(scores).sum()) - context[own] @ part[own])
    np.testing.assert_allclose(s3rec.segment_loss(model, hidden(2), hidden(3), WHERE), np.mean(each), rtol=1e-5)


def test_losses_of_nothing_are_zero(model: S3Rec) -> None:
    nothing = np.zeros_like(WHERE)
    assert float(s3rec.own_attribute_loss(model, TOKENS, nothing)) == 0
    assert float(s3rec.masked_item_loss(model, hidden(0), TOKENS, nothing)) == 0
    assert float(s3rec.segment_loss(model, hidden(0), hidden(1), nothing)) == 0


def test_parts_are_runs_of_up_to_half_a_sequence_anywhere() -> None:
    lengths = [1, 2, 3, 7, 10, 9]
    segments = np.repeat(np.arange(1, 7), lengths)[None]
    seen = set()
    draw = jax.jit(draw_parts)
    for seed in range(300):
        part = np.asarray(draw(segments, jax.random.key(seed)))[0]
        for number, length in enumerate(lengths, start=1):
            own = np.flatnonzero(part[segments[0] == number])
            if length == 1:
                assert not len(own)
                continue
            assert 1 <= len(own) <= length // 2
            assert own[-1] - own[0] == len(own) - 1, "a run"
            seen.add((length, len(own), own[0]))
    every = {(n, size, start) for n in lengths[1:] for size in range(1, n // 2 + 1) for start in range(n - size + 1)}
    assert seen == every, "every run of every length is drawn"


def test_the_last_item_is_always_masked_and_padding_never() -> None:
    segments = np.tile(SEGMENTS, (400, 1))
    masked = np.asarray(draw_masks(segments, 0.3, jax.random.key(0)))
    last = np.asarray(last_positions(segments))
    np.testing.assert_array_equal(last[:2], [[0, 0, 1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]])
    assert masked[last].all()
    assert not masked[segments == 0].any()
    inner = masked[(segments > 0) & ~last]
    assert abs(inner.mean() - 0.3) < 4 * (0.3 * 0.7 / inner.size) ** 0.5


@pytest.mark.slow
def test_pretraining_sees_both_directions_and_masks_hide_items(model: S3Rec) -> None:
    nothing = np.zeros((1, 4), bool)
    segments = np.ones((1, 4), int)
    one, two = (model.masked(np.array([row]), segments, nothing)[0] for row in ([1, 2, 3, 4], [1, 2, 3, 9]))
    assert np.abs(one - two).max(axis=1).min() > 1e-4, "a later item is seen"
    masked = np.array([[False, False, False, True]])
    one, two = (model.masked(np.array([row]), segments, masked)[0] for row in ([1, 2, 3, 4], [1, 2, 3, 9]))
    np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_sequences_that_share_a_row_do_not_meet(model: S3Rec) -> None:
    masked = np.array([[0, 1, 0, 0, 1, 0]], bool)
    packed = model.masked(TOKENS[:1, :6], SEGMENTS[:1, :6], masked)[0]
    first = model.masked(TOKENS[:1, :3], np.ones((1, 3), int), masked[:, :3])[0]
    second = model.masked(TOKENS[:1, 3:5], np.ones((1, 2), int), masked[:, 3:5])[0]
    np.testing.assert_allclose(packed[:3], first, atol=1e-5)
    np.testing.assert_allclose(packed[3:5], second, atol=1e-5)


@pytest.mark.slow
def test_the_loss_is_the_weighted_sum_and_its_gradients_are_finite(model: S3Rec) -> None:
    batch = Batch(TOKENS, SEGMENTS, TOKENS, SEGMENTS, (SEGMENTS > 0).astype(np.float32))
    params, buffers, loss_fn = functional(model, pretraining_loss)
    differentiate = jax.jit(jax.value_and_grad(lambda p: loss_fn(p, buffers, batch, jax.random.key(1)), has_aux=True))
    (loss, parts), gradients = differentiate(params)
    expected = 0.2 * parts["aap"] + parts["mip"] + parts["map"] + 0.5 * parts["sp"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), path
    touched = [str(path) for path, gradient in jax.tree.leaves_with_path(gradients) if np.abs(gradient).max() > 0]
    for name in ("to_own_values", "to_item", "to_values", "to_segment", "value_embedding", "mask_embedding", "blocks"):
        assert any(name in path for path in touched), name


@pytest.mark.slow
def test_both_stages_train_and_resume(tmp_path: pathlib.Path) -> None:
    world = WorldConfig(users=60, items=60, events_per_user=8.0, tastes=4)
    split = make_split(generate_world(world, seed=0))
    sizes = {"layers": 1, "length": 16, "rows": 8, "row_length": 32}
    settings = dataclasses.replace(CONFIG, **sizes, epochs=1, validate_every=1, pretrain_epochs=2, learning_rate=5e-3)
    score = s3rec.BASELINE.train(settings, split, 0, tmp_path)
    users = np.arange(20)
    for stage in ("pretraining", "fine-tuning"):
        assert (tmp_path / stage / "metrics.jsonl").is_file()
    again = s3rec.BASELINE.train(settings, split, 0, tmp_path)  # finished: its weights are read
    np.testing.assert_array_equal(again(split.history("test"), users), score(split.history("test"), users))
    plain = dataclasses.replace(settings, pretrain_epochs=0)
    other = s3rec.BASELINE.train(plain, split, 0, tmp_path / "plain")
    assert not (tmp_path / "plain" / "pretraining").exists()
    assert np.abs(other(split.history("test"), users) - score(split.history("test"), users)).max() > 1e-3
    with pytest.raises(ValueError, match="S3-Rec learns from attributes of items, and this data has none"):
        s3rec.BASELINE.train(plain, dataclasses.replace(split, attributes=None), 0, tmp_path / "none")
