import dataclasses
from collections.abc import Iterator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, RopeConfig
from jaxrec.models.decoding import reorder
from jaxrec.models.linear import Linear, LowRank
from jaxrec.models.llama import Llama
from jaxrec.models.oov import Frozen

CONFIG = LlamaConfig(vocab=50, d_model=16, d_kv=6, heads=4, kv_heads=2, d_ff=24, layers=2, rope=RopeConfig(theta=100.0))
WINDOW = dataclasses.replace(CONFIG, window=4, windowed=(1,), qk_norm=True, tied=True)
BIASED = dataclasses.replace(CONFIG, qkv_bias=True, output_bias=True, mlp_bias=True)
ROUNDED = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
LORA = LoraConfig(
    rank=2, alpha=2.0, dropout=0.0, targets=("attention", "mlp", "embedding", "head"), base_dtype="float32"
)
ANCHORS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
START = 3
SOURCE = np.random.default_rng(1).integers(1, 50, (3, 9)).astype(np.int32)
SOURCE[0, 5:] = 0
SOURCE[1, 8:] = 0
SEGMENTS = (SOURCE != 0).astype(np.int32)


def build(config: LlamaConfig, lora: LoraConfig | None = None) -> Llama:
    """A model whose LoRA factors, biases and norms are not what they start as."""
    model = Llama(config, OovConfig("shared"), lora or LoraConfig(), ANCHORS, 40, START, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(4)
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        if path[-1] in ("b", "bias", "scale"):
            leaf[...] = leaf[...] + jnp.asarray(0.2 * rng.normal(size=leaf[...].shape), leaf[...].dtype)
    return model


@jax.jit
def run(model: Llama, source, segments, inputs, target_segments, key=None) -> jax.Array:
    return model(source, segments, inputs, target_segments, key=key)


def hidden_of(model: Llama, inputs: np.ndarray) -> jax.Array:
    return run(model, SOURCE, SEGMENTS, inputs, np.ones_like(inputs))


step = jax.jit(Llama.step, static_argnums=2)
read = jax.jit(Llama.read)


def answers(length: int = 5) -> np.ndarray:
    said = np.random.default_rng(3).integers(1, 50, (3, length)).astype(np.int32)
    said[:, 0] = START
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "lora", "tolerance"),
    [(BIASED, None, 1e-5), (WINDOW, None, 1e-5), (WINDOW, LORA, 1e-5), (ROUNDED, None, 0.05)],
    ids=["biased", "window", "lora", "rounded"],
)
def test_cached_steps_equal_one_pass(config: LlamaConfig, lora: LoraConfig | None, tolerance: float) -> None:
    model, beams = build(config, lora), 4
    said = np.random.default_rng(2).integers(1, 50, (3, beams, 6)).astype(np.int32)
    said[:, :, 0] = START
    memory = read(model, SOURCE)
    assert memory.keys[0].shape == (3, config.kv_heads, 9, config.d_kv)
    cache, hidden = model.empty_cache(3, beams, 7), []
    for start, end in ((0, 3), (3, 4), (4, 6)):
        now, cache = step(model, said[:, :, start:end], start, cache, memory)
        hidden.append(now)
    got = jnp.concatenate(hidden, axis=2)
    for w in range(beams):
        np.testing.assert_allclose(got[:, w], hidden_of(model, said[:, w]), atol=tolerance)
    assert model.logits(got).shape == (3, beams, 6, config.vocab)


def test_reordered_beams_go_on_from_their_parents() -> None:
    model = build(WINDOW)
    said = np.random.default_rng(2).integers(1, 50, (3, 4, 3))
    parents = np.array([[1, 1], [3, 0], [2, 2]])
    memory = read(model, SOURCE)
    _, cache = step(model, said[:, :, :2], 0, model.empty_cache(3, 4, 3), memory)
    got, _ = step(model, said[:, :2, 2:], 2, reorder(cache, parents), memory)
    whole = np.concatenate([np.take_along_axis(said[:, :, :2], parents[..., None], 1), said[:, :2, 2:]], 2)
    want, _ = step(model, whole, 0, model.empty_cache(3, 2, 3), memory)
    np.testing.assert_allclose(got[:, :, 0], want[:, :, 2], atol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, WINDOW], ids=["full", "window"])
def test_examples_of_a_packed_row_do_not_see_each_other(config: LlamaConfig) -> None:
    model = build(config)
    lengths = ((5, 3), (8, 5), (9, 4))
    inputs = answers()
    alone = hidden_of(model, inputs)
    rows = [np.zeros((1, width), np.int32) for width in (25, 25, 15, 15)]
    source, segments, target, target_segments = rows
    at = to = 0
    for n, (prompt, answer) in enumerate(lengths):
        source[0, at : at + prompt], segments[0, at : at + prompt] = SOURCE[n, :prompt], n + 1
        target[0, to : to + answer], target_segments[0, to : to + answer] = inputs[n, :answer], n + 1
        at, to = at + prompt, to + answer
    packed, to = run(model, *rows), 0
    for n, (_, answer) in enumerate(lengths):
        np.testing.assert_allclose(packed[0, to : to + answer], alone[n, :answer], atol=1e-5)
        to += answer


def test_padding_changes_nothing_and_the_future_is_not_seen() -> None:
    model, inputs = build(CONFIG), answers()
    want = hidden_of(model, inputs)
    source, segments = (np.pad(a, ((0, 0), (0, 4))) for a in (SOURCE, SEGMENTS))
    target, target_segments = (np.pad(a, ((0, 0), (0, 2))) for a in (inputs, np.ones_like(inputs)))
    got = run(model, source, segments, target, target_segments)
    np.testing.assert_allclose(got[:, :5], want, atol=1e-5)
    later = inputs.copy()
    later[:, 3:] = 7
    np.testing.assert_allclose(hidden_of(model, later)[:, :3], want[:, :3], atol=1e-5)
    memory, padded = read(model, SOURCE), read(model, source)
    said = np.repeat(inputs[:, None], 2, axis=1)
    got, _ = step(model, said, 0, model.empty_cache(3, 2, 5), padded)
    want, _ = step(model, said, 0, model.empty_cache(3, 2, 5), memory)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_window_shows_its_newest_positions_alone() -> None:
    inputs = answers()
    for layers, seen in ((1, 3), (2, 5)):  # the second layer sees what the first has seen
        model = build(dataclasses.replace(CONFIG, window=3, layers=layers))
        want = hidden_of(model, inputs)[2, 0]  # of place 9: 9 prompt tokens stand before it
        changed = []
        for place in range(9):
            source = SOURCE.copy()
            source[2, place] = source[2, place] % 49 + 1
            got = run(model, source, SEGMENTS, inputs, np.ones_like(inputs))[2, 0]
            if np.abs(got - want).max() > 1e-6:
                changed.append(place)
        assert changed == list(range(10 - seen, 9))


def parameters(model: Llama) -> Iterator[tuple[tuple, nnx.Variable]]:
    yield from nnx.to_flat_state(nnx.state(model, nnx.Param))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "lora"),
    [(BIASED, None), (WINDOW, None), (ROUNDED, dataclasses.replace(LORA, base_dtype="bfloat16")), (WINDOW, LORA)],
    ids=["biased", "window", "lora-rounded", "lora-tied"],
)
def test_gradients_are_finite_and_reach_every_parameter(config: LlamaConfig, lora: LoraConfig | None) -> None:
    model = build(dataclasses.replace(config, dropout=0.1), lora)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    source = SOURCE.copy()
    source[:, :3] = [[40, 41, 42]] * 3
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def gradient(params: nnx.State, key: jax.Array) -> nnx.State:
        def loss(params: nnx.State) -> jax.Array:
            model = nnx.merge(graph, params, rest)
            hidden = model(source, SEGMENTS, answers(), np.ones((3, 5), np.int32), key=key)
            return jnp.mean(jnp.square(model.logits(hidden)))

        return jax.grad(loss)(params)

    for seed in range(2):
        actual = gradient(params, jax.random.key(seed))
        chex.assert_tree_all_finite(actual)
        for path, leaf in nnx.to_flat_state(actual):
            assert leaf[...].dtype == jnp.float32
            assert float(jnp.abs(leaf[...]).max()) > 0, path


def test_lora_trains_its_factors_and_new_tokens_alone() -> None:
    model = build(CONFIG, LORA)
    names = {path[-1] if "adapter" in str(path) else path for path, _ in parameters(model)}
    assert names == {"a", "b", ("embedding", "rows"), ("embedding", "kernel"), ("head", "rows")}
    assert sum("adapter" in str(path) for path, _ in parameters(model)) == 2 * (2 * 7 + 2)
    for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Not(nnx.Param))):
        assert isinstance(leaf, Frozen) or path == ("embedding", "anchors")
    few = build(CONFIG, dataclasses.replace(LORA, targets=("mlp",)))
    assert sum("adapter" in str(path) for path, _ in parameters(few)) == 2 * 2 * 3


@pytest.mark.parametrize("config", [BIASED, WINDOW], ids=["biased", "tied"])
def test_lora_starts_as_its_base_and_is_a_model_without_it(config: LlamaConfig) -> None:
    oov = OovConfig("shared")
    adapted = Llama(config, oov, LORA, ANCHORS, 40, START, rngs=nnx.Rngs(0))
    plain = Llama(config, oov, LoraConfig(), ANCHORS, 40, START, rngs=nnx.Rngs(1))

    def same(model: Llama, head: np.ndarray | None = None) -> None:
        """Writes the adapted model's whole weights into the plain one, and compares."""
        layers = dict(nnx.iter_modules(model))
        for path, module in nnx.iter_modules(plain):
            other = layers[path]
            if isinstance(module, Linear):
                module.kernel[...] = other.whole()
                if module.bias is not None:
                    module.bias[...] = other.bias[...]
            elif hasattr(module, "scale") and isinstance(module.scale, nnx.Variable):
                module.scale[...] = other.scale[...]
        added = [0 if a is None else a.whole() for a in (model.embedding_adapter, model.head_adapter)]
        plain.embedding.table[...] = model.embedding.whole() + added[0]
        plain.embedding.kernel[...] = model.embedding.kernel[...]
        want = hidden_of(model, answers())
        np.testing.assert_allclose(hidden_of(plain, answers()), want, atol=1e-4)
        tables = (plain.embedding, model.embedding) if plain.head is None else (plain.head, model.head)
        assert tables[1] is not None
        tables[0].table[...] = tables[1].whole() + jnp.asarray(added[1]).T
        np.testing.assert_allclose(plain.logits(want), model.logits(want), atol=1e-4)

    same(adapted)
    for adapter in (m for _, m in nnx.iter_modules(adapted) if isinstance(m, LowRank)):
        np.testing.assert_array_equal(adapter.whole(), np.zeros(adapter.whole().shape))
        adapter.b[...] = 0.1 * jax.random.normal(jax.random.key(5), adapter.b[...].shape)
    same(adapted)


@pytest.mark.slow
def test_layers_that_are_computed_again_give_the_same_gradients() -> None:
    actual, barriers = [], []
    for remat in (False, True):
        model = build(dataclasses.replace(CONFIG, dropout=0.1, remat=remat), dataclasses.replace(LORA, dropout=0.1))
        graph, params, rest = nnx.split(model, nnx.Param, ...)

        @jax.jit
        def gradient(params: nnx.State, rest: nnx.State, graph=graph) -> nnx.State:
            def loss(params: nnx.State) -> jax.Array:
                model = nnx.merge(graph, params, rest)
                hidden = model(SOURCE, SEGMENTS, answers(), np.ones((3, 5), np.int32), key=jax.random.key(0))
                return jnp.mean(jnp.square(model.logits(hidden)))

            return jax.grad(loss)(params)

        actual.append(gradient(params, rest))
        barriers.append(gradient.lower(params, rest).as_text().count("optimization_barrier"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *actual)
    assert barriers == [0, 2]


def test_keys_drop_and_evaluation_does_not() -> None:
    model = build(dataclasses.replace(CONFIG, dropout=0.5))
    arguments = SOURCE, SEGMENTS, answers(), np.ones((3, 5), np.int32)
    a, b = (run(model, *arguments, jax.random.key(seed)) for seed in range(2))
    zero = [np.asarray(x == 0) for x in (a, b)]
    assert all(0.3 < z.mean() < 0.7 for z in zero)
    assert 0.3 < (zero[0] == zero[1]).mean() < 0.7
    np.testing.assert_array_equal(run(model, *arguments), run(model, *arguments))
    adapted = build(CONFIG, dataclasses.replace(LORA, dropout=0.5))
    assert np.abs(run(adapted, *arguments, jax.random.key(0)) - run(adapted, *arguments)).max() > 0.01


def test_the_projection_is_at_the_input_and_where_shared_at_a_tied_head() -> None:
    hidden = jax.random.normal(jax.random.key(0), (2, 16))
    inputs = np.array([[START, 40]] * 3, np.int32)
    for tied in (False, True):
        config = dataclasses.replace(CONFIG, tied=tied)
        none, encoder, shared = (build(config) for _ in range(3))
        none.embedding.scope, encoder.embedding.scope = "none", "encoder"
        outputs = [hidden_of(model, inputs) for model in (none, encoder, shared)]
        assert np.abs(outputs[0] - outputs[1])[:, 1].max() > 1e-3
        np.testing.assert_array_equal(outputs[1], outputs[2])
        np.testing.assert_array_equal(none.logits(hidden), encoder.logits(hidden))
        assert (np.abs(none.logits(hidden) - shared.logits(hidden)).max() > 1e-3) == tied


def test_refusals() -> None:
    model = build(CONFIG)
    memory = model.read(SOURCE)
    with pytest.raises(ValueError, match="position 4 exceeds the cache's length 3"):
        model.step(np.zeros((3, 2, 2), np.int32), 2, model.empty_cache(3, 2, 3), memory)
    with pytest.raises(ValueError, match="heads=4 is no multiple of kv_heads=3"):
        build(dataclasses.replace(CONFIG, kv_heads=3))
    with pytest.raises(ValueError, match="window=-1 is negative"):
        build(dataclasses.replace(CONFIG, window=-1))
