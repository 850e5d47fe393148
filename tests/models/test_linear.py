import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrec.config import LoraConfig
from jaxrec.models.dropout import Dropout
from jaxrec.models.linear import Linear, LowRank
from jaxrec.models.oov import Frozen

NO_DROP = Dropout(0, None)
LORA = LoraConfig(rank=2, alpha=6.0, base_dtype="float32")


def build(lora: LoraConfig, adapted: bool = True) -> Linear:
    return Linear(3, 4, "float32", bias=True, lora=lora, adapted=adapted, rngs=nnx.Rngs(0))


def test_by_hand() -> None:
    layer = build(LORA)
    assert layer.bias is not None
    assert layer.adapter is not None
    layer.kernel[...] = jnp.arange(12.0).reshape(3, 4)
    layer.bias[...] = jnp.array([1.0, 0, 0, -1])
    layer.adapter.a[...] = jnp.array([[1.0, 0], [0, 1], [1, 1]])
    layer.adapter.b[...] = jnp.array([[1.0, 2, 3, 4], [0, 1, 0, 1]])
    # x W = [8, 10, 12, 14]; x A = [2, 1], times B = [2, 5, 6, 9], times 6 / 2.
    got = layer(jnp.array([[1.0, 0, 1]]), NO_DROP)
    np.testing.assert_allclose(got, [[8 + 1 + 6, 10 + 15, 12 + 18, 14 - 1 + 27]])
    np.testing.assert_allclose(layer.whole()[2], [8 + 3, 9 + 9, 10 + 9, 11 + 15])


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
def test_an_adapted_layer_starts_as_its_base_and_can_be_merged(base_dtype: str) -> None:
    layer = build(LoraConfig(rank=2, base_dtype=base_dtype))  # type: ignore[arg-type]
    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    assert isinstance(layer.kernel, Frozen)
    assert isinstance(layer.bias, Frozen)
    assert layer.kernel[...].dtype == base_dtype
    np.testing.assert_allclose(layer(x, NO_DROP), x @ layer.kernel[...].astype(np.float32), atol=1e-6)
    assert layer.adapter is not None
    layer.adapter.b[...] = jax.random.normal(jax.random.key(1), (2, 4))
    np.testing.assert_allclose(layer(x, NO_DROP), x @ layer.whole(), atol=1e-4)
    assert np.abs(layer.whole() - layer.kernel[...].astype(np.float32)).max() > 0.1


def test_what_is_trained() -> None:
    paths = {
        rank_adapted: {path for path, _ in nnx.to_flat_state(nnx.state(build(*rank_adapted), nnx.Param))}
        for rank_adapted in ((LoraConfig(), True), (LORA, True), (LORA, False))
    }
    assert list(paths.values()) == [{("kernel",), ("bias",)}, {("adapter", "a"), ("adapter", "b")}, set()]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_reach_the_factors_through_a_rounded_base(dtype: str) -> None:
    layer = Linear(3, 4, dtype, lora=LoraConfig(rank=2), adapted=True, rngs=nnx.Rngs(0))
    assert layer.adapter is not None
    layer.adapter.b[...] = jnp.ones((2, 4))
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    x = jax.random.normal(jax.random.key(0), (5, 3))
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def gradient(params: nnx.State, x: jax.Array):
        return jax.grad(lambda p, x: jnp.sum(nnx.merge(graph, p, rest)(x, NO_DROP) ** 2), (0, 1))(params, x)

    for _ in range(2):
        actual = gradient(params, x)
        chex.assert_tree_all_finite(actual)
        assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(actual))


def test_only_the_factors_input_is_dropped() -> None:
    layer = build(LORA)
    x = jnp.ones((400, 3))
    base = layer(x, NO_DROP)
    assert layer.adapter is not None
    layer.adapter.b[...] = jnp.ones((2, 4))
    dropped = layer(x, Dropout(0.5, jax.random.key(0)))
    added, full = dropped - base, layer.adapter(x[:1], NO_DROP)
    np.testing.assert_allclose(added.mean(0), full[0], rtol=0.25)
    assert len(np.unique(np.round(added[:, 0], 4))) == 2**3  # each of three inputs is there or not


def test_rows_of_a_table_are_adapted_alike() -> None:
    adapter = LowRank(7, 4, LORA, "float32", rngs=nnx.Rngs(0))
    tokens = np.array([[0, 6], [3, 3]])
    np.testing.assert_array_equal(adapter.of_tokens(tokens), np.zeros((2, 2, 4)))
    adapter.b[...] = jax.random.normal(jax.random.key(1), (2, 4))
    np.testing.assert_allclose(adapter.of_tokens(tokens), adapter.whole()[tokens], atol=1e-5)
