import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.models.cross_entropy import sequence_loss, shift_right
from jaxrec.models.t5 import T5
from jaxrec.types import Batch

CONFIG = T5Config(vocab=40, d_model=16, d_kv=4, heads=2, d_ff=24, encoder_layers=1, decoder_layers=1, dropout=0.2)


@pytest.fixture(scope="module")
def model() -> T5:
    anchors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    return T5(CONFIG, OovConfig(scope="shared"), anchors, 30, rngs=nnx.Rngs(0))


def examples(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    lengths = [(5, 3), (7, 2), (3, 4), (9, 4)]
    return [(rng.integers(2, 40, s), np.append(rng.integers(2, 40, t - 1), 1)) for s, t in lengths]


def rows_of(groups: list[list[tuple[np.ndarray, np.ndarray]]], source: int, target: int) -> Batch:
    """A row for each group, whose examples stand side by side."""

    def side(part: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        tokens, segments = np.zeros((2, len(groups), length), np.int32)
        for r, group in enumerate(groups):
            at = 0
            for n, example in enumerate(group, start=1):
                tokens[r, at : at + len(example[part])] = example[part]
                segments[r, at : at + len(example[part])] = n
                at += len(example[part])
        return tokens, segments

    (s, s_segments), (t, t_segments) = side(0, source), side(1, target)
    return Batch(s, s_segments, t, t_segments, (t_segments > 0).astype(np.float32))


def loss_and_gradient(model: T5, batch: Batch, smoothing: float = 0.0):
    graph, params, buffers = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def run(params: nnx.State, buffers: nnx.State, batch: Batch):
        def loss(params: nnx.State):
            return sequence_loss(nnx.merge(graph, params, buffers), batch, label_smoothing=smoothing)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return run(params, buffers, batch)


def test_shift_right_by_hand() -> None:
    target = np.array([[7, 8, 1, 5, 1, 0], [3, 1, 4, 1, 6, 1]])
    segments = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 3, 3]])
    want = [[0, 7, 8, 0, 5, 0], [0, 3, 0, 4, 0, 6]]
    np.testing.assert_array_equal(shift_right(jnp.asarray(target), jnp.asarray(segments)), want)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_packed_batch_equals_the_same_examples_one_a_row(model: T5, smoothing: float) -> None:
    many = examples()
    alone = rows_of([[e] for e in many], 11, 6)
    packed = rows_of([many[:2], many[2:]], 14, 9)

    (loss, metrics), gradient = loss_and_gradient(model, packed, smoothing)
    (want, want_metrics), want_gradient = loss_and_gradient(model, alone, smoothing)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    chex.assert_trees_all_close(metrics, want_metrics, rtol=1e-5)
    chex.assert_trees_all_close(gradient, want_gradient, atol=1e-5)


def test_the_loss_equals_a_loop_over_labels(model: T5) -> None:
    batch = rows_of([[e] for e in examples()], 11, 6)
    weights = np.array(batch.weights)
    weights[0, 1] = 0.5
    batch = Batch(batch.source, batch.source_segments, batch.target, batch.target_segments, weights)
    inputs = np.concatenate([np.zeros((4, 1), np.int32), batch.target[:, :-1]], 1)
    score = jax.jit(lambda m, x, y, s: m.logits(m.decode(y, m.encode(x), s)))
    logits = np.asarray(score(model, batch.source, inputs, batch.source_segments), np.float64)
    plain, smooth, hits = [], [], []
    for r, t in np.argwhere(weights > 0):
        log_p = logits[r, t] - np.log(np.exp(logits[r, t]).sum())
        goal = np.full(40, 0.2 / 40)
        goal[batch.target[r, t]] += 0.8
        plain.append(-log_p[batch.target[r, t]])
        smooth.append(-(goal * log_p).sum())
        hits.append(log_p.argmax() == batch.target[r, t])
    flat = weights[weights > 0]
    (loss, metrics), _ = loss_and_gradient(model, batch)
    np.testing.assert_allclose(loss, np.average(plain, weights=flat), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.average(hits, weights=flat), rtol=1e-5)
    (loss, metrics), _ = loss_and_gradient(model, batch, 0.2)
    np.testing.assert_allclose(loss, np.average(smooth, weights=flat), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], np.average(plain, weights=flat), rtol=1e-5)


def test_a_batch_of_padding_alone_is_finite_and_counts_nothing(model: T5) -> None:
    batch = jax.tree.map(np.zeros_like, rows_of([examples()[:1]], 8, 4))
    (loss, metrics), gradient = loss_and_gradient(model, batch)
    assert float(loss) == 0
    chex.assert_tree_all_finite((metrics, gradient))


@pytest.mark.slow
def test_one_trace_and_dropout_by_key_alone(model: T5) -> None:
    graph, params, buffers = nnx.split(model, nnx.Param, ...)

    @jax.jit
    @chex.assert_max_traces(1)
    def loss(params: nnx.State, batch: Batch, key: jax.Array) -> jax.Array:
        return sequence_loss(nnx.merge(graph, params, buffers), batch, key)[0]

    first, second = rows_of([examples(0)], 30, 14), rows_of([examples(1)], 30, 14)
    once = loss(params, first, jax.random.key(0))
    assert float(once) == float(loss(params, first, jax.random.key(0)))
    assert float(once) != float(loss(params, first, jax.random.key(1)))
    loss(params, second, jax.random.key(0))
    np.testing.assert_allclose(sequence_loss(model, first, jax.random.key(0))[0], once, rtol=1e-5)  # without jit
