import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.models.decoding import reorder
from jaxrec.models.t5 import T5

CONFIG = T5Config(vocab=50, d_model=16, d_kv=4, heads=2, d_ff=24, encoder_layers=2, decoder_layers=2, buckets=8)
GATED = dataclasses.replace(CONFIG, activation="gated-gelu", tied=False)
ROUNDED = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
ANCHORS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
SOURCE = np.random.default_rng(1).integers(1, 50, (3, 9)).astype(np.int32)
SOURCE[0, 5:] = 0
SEGMENTS = (SOURCE != 0).astype(np.int32)


def build(config: T5Config) -> T5:
    return T5(config, OovConfig("shared"), ANCHORS, 40, rngs=nnx.Rngs(0))


@jax.jit
def encode(model: T5, source: jax.Array, key: jax.Array | None = None) -> jax.Array:
    return model.encode(source, key=key)


@jax.jit
def decode(
    model: T5, inputs: jax.Array, source: jax.Array, segments: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    return model.decode(inputs, model.encode(source, key=key), segments, key=key)


@jax.jit
def logits(
    model: T5, inputs: jax.Array, source: jax.Array, segments: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    return model.logits(decode(model, inputs, source, segments, key))


remember = jax.jit(lambda model: model.read(SOURCE))
step = jax.jit(T5.step, static_argnums=2)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "tolerance"), [(CONFIG, 1e-5), (GATED, 1e-5), (ROUNDED, 0.02)])
def test_cached_steps_equal_the_whole_decoder(config: T5Config, tolerance: float) -> None:
    model, beams = build(config), 4
    said = np.random.default_rng(2).integers(1, 50, (3, beams, 6))
    said[:, :, 0] = 0
    memory = remember(model)
    cache, hidden = model.empty_cache(3, beams, 7), []
    for start, end in ((0, 3), (3, 4), (4, 6)):
        now, cache = step(model, said[:, :, start:end], start, cache, memory)
        hidden.append(now)
    got = jnp.concatenate(hidden, axis=2)
    for w in range(beams):
        np.testing.assert_allclose(got[:, w], decode(model, said[:, w], SOURCE, SEGMENTS), atol=tolerance)
    scores = model.logits(got)
    assert scores.shape == (3, beams, 6, config.vocab)
    np.testing.assert_allclose(scores[:, 0], logits(model, said[:, 0], SOURCE, SEGMENTS), atol=10 * tolerance)


def test_reordered_beams_go_on_from_their_parents() -> None:
    model = build(CONFIG)
    said = np.random.default_rng(2).integers(1, 50, (3, 4, 3))
    parents = np.array([[1, 1], [3, 0], [2, 2]])
    memory = remember(model)
    _, cache = step(model, said[:, :, :2], 0, model.empty_cache(3, 4, 3), memory)
    got, _ = step(model, said[:, :2, 2:], 2, reorder(cache, parents), memory)
    whole = np.concatenate([np.take_along_axis(said[:, :, :2], parents[..., None], 1), said[:, :2, 2:]], 2)
    want, _ = step(model, whole, 0, model.empty_cache(3, 2, 3), memory)
    np.testing.assert_allclose(got[:, :, 0], want[:, :, 2], atol=1e-5)


def test_a_step_beyond_the_cache_is_refused() -> None:
    model = build(CONFIG)
    memory = remember(model)
    with pytest.raises(ValueError, match="position 4 exceeds the cache's length 3"):
        model.step(np.zeros((3, 2, 2), np.int32), 2, model.empty_cache(3, 2, 3), memory)


def test_padding_changes_nothing_and_the_future_is_not_seen() -> None:
    model = build(CONFIG)
    target = np.random.default_rng(3).integers(1, 50, (3, 5))
    want = decode(model, target, SOURCE, SEGMENTS)
    padded, padded_segments = (np.pad(a, ((0, 0), (0, 4))) for a in (SOURCE, SEGMENTS))
    got = decode(model, target, padded, padded_segments)
    np.testing.assert_allclose(got, want, atol=1e-5)
    later = target.copy()
    later[:, 3:] = 7
    got = decode(model, later, SOURCE, SEGMENTS)
    np.testing.assert_allclose(got[:, :3], want[:, :3], atol=1e-5)
    rows = [2, 0, 1]
    got = decode(model, target[rows], SOURCE[rows], SEGMENTS[rows])
    np.testing.assert_allclose(got, want[np.array(rows)], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, GATED, ROUNDED])
def test_gradients_are_finite_and_reach_every_parameter(config: T5Config) -> None:
    graph, params, buffers = nnx.split(build(config), nnx.Param, ...)
    target = np.random.default_rng(3).integers(1, 50, (3, 5))
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def gradient(params: nnx.State, key: jax.Array) -> nnx.State:
        def loss(params: nnx.State) -> jax.Array:
            model = nnx.merge(graph, params, buffers)
            return jnp.mean(jnp.square(logits(model, target, SOURCE, SEGMENTS, key)))

        return jax.grad(loss)(params)

    for seed in range(2):
        actual = gradient(params, jax.random.key(seed))
        chex.assert_tree_all_finite(actual)
        assert all(float(jnp.abs(x).max()) > 0 for x in jax.tree.leaves(actual))


def test_encoder_and_decoder_drop_by_different_masks() -> None:
    model = build(dataclasses.replace(CONFIG, dropout=0.5))
    key = jax.random.key(0)
    a, b = encode(model, SOURCE, key), encode(model, SOURCE, jax.random.key(1))
    hidden = decode(model, SOURCE, SOURCE, SEGMENTS, key)
    zero = [np.asarray(x == 0) for x in (a, b, hidden)]
    assert all(0.3 < z.mean() < 0.7 for z in zero)
    for i, j in ((0, 1), (0, 2)):
        assert 0.3 < (zero[i] == zero[j]).mean() < 0.7


def test_parameters_start_as_t5s_do() -> None:
    config = dataclasses.replace(CONFIG, vocab=400, d_model=64, d_kv=16, heads=4, d_ff=256, tied=False, buckets=32)
    state = dict(nnx.to_flat_state(nnx.state(T5(config, OovConfig("none"), None, 400, rngs=nnx.Rngs(0)))))
    layer = ("encoder", "layers", 1)
    want = {
        ("embedding", "table"): 1,
        ("head",): 1,
        (*layer, "attention", "query"): (64 * 16) ** -0.5,
        (*layer, "attention", "key"): 64**-0.5,
        (*layer, "attention", "value"): 64**-0.5,
        (*layer, "attention", "output"): 64**-0.5,
        (*layer, "feed_forward", "expand"): 64**-0.5,
        (*layer, "feed_forward", "contract"): 256**-0.5,
    }
    for path, deviation in want.items():
        np.testing.assert_allclose(np.std(state[path][...]), deviation, rtol=0.05, err_msg=str(path))
    np.testing.assert_array_equal(state[*layer, "attention_norm", "scale"][...], np.ones(64))


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "wanted"), [((2, 2), (4, 0)), ((5, 4), (2, 4))])
def test_layers_that_are_computed_again_give_the_same_gradients(layers: tuple, wanted: tuple) -> None:
    """`wanted`: additional barriers, one a layer or a scan, and loops, a forward and a backward one a scan."""
    encoder, decoder = layers
    sizes = dataclasses.replace(CONFIG, encoder_layers=encoder, decoder_layers=decoder)
    target = np.random.default_rng(3).integers(1, 50, (3, 5))
    actual, counts = [], []
    for remat in (False, True):
        config = dataclasses.replace(sizes, dropout=0.1, remat=remat)
        graph, params, buffers = nnx.split(build(config), nnx.Param, ...)

        @jax.jit
        def gradient(params: nnx.State, buffers: nnx.State, graph=graph) -> nnx.State:
            def loss(params: nnx.State) -> jax.Array:
                model = nnx.merge(graph, params, buffers)
                return jnp.mean(jnp.square(logits(model, target, SOURCE, SEGMENTS, jax.random.key(0))))

            return jax.grad(loss)(params)

        actual.append(gradient(params, buffers))
        program = gradient.lower(params, buffers).as_text()
        counts.append(np.array([program.count(name) for name in ("optimization_barrier", "stablehlo.while")]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *actual)
    assert tuple(counts[1] - counts[0]) == wanted
