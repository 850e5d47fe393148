"""The TPU's attention kernel, run by Pallas's interpreter, beside the plain form; and T5 with it, whole and sharded."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental.pallas import tpu as pltpu

from jaxrec.config import OovConfig, T5Config
from jaxrec.models.attention import Attention, segments
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.dropout import Dropout
from jaxrec.models.fused_attention import fits
from jaxrec.models.t5 import T5
from jaxrec.platform import compiling_for
from jaxrec.training.sharding import make_mesh, tracing_over
from jaxrec.training.state import functional
from jaxrec.types import Batch

ROWS, KEYS, WIDTH = 2, 128, 16


def numbers_of_examples(draw: np.random.Generator, length: int) -> jax.Array:
    """Three examples a row, and padding at the end."""
    ends = np.sort(draw.integers(1, length - 4, (ROWS, 2)), axis=1)
    places = np.arange(length)[None]
    number = 1 + (places >= ends[:, :1]) + (places >= ends[:, 1:])
    return jnp.asarray(np.where(places < length - 4, number, 0), jnp.int32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("queries", "causal", "rate", "dtype"),
    [(128, True, 0.2, "float32"), (16, False, 0.0, "float32"), (128, False, 0.1, "bfloat16")],
)
def test_kernel_equals_plain_attention(queries: int, causal: bool, rate: float, dtype: str) -> None:
    draw = np.random.default_rng(queries)
    attention = Attention(WIDTH, 2, 8, dtype, rngs=nnx.Rngs(0))
    seen = segments(numbers_of_examples(draw, queries), numbers_of_examples(draw, KEYS), causal=causal)
    inputs = [jnp.asarray(draw.normal(size=(ROWS, n, WIDTH)), jnp.float32) for n in (queries, KEYS)]
    bias = None if queries == 16 else jnp.asarray(draw.normal(size=(2, queries, KEYS)), jnp.float32)
    key = jax.random.key(1) if rate else None

    def gradients(attention: Attention, x: jax.Array, read: jax.Array, bias: jax.Array | None):
        def squares(attention: Attention, x: jax.Array, read: jax.Array, bias: jax.Array | None) -> jax.Array:
            y = attention(x, read, bias, seen, Dropout(rate, key))
            return jnp.sum(jnp.square(y.astype(jnp.float32)) * jnp.arange(WIDTH).reshape(1, 1, -1))

        return jax.value_and_grad(squares, argnums=(0, 1, 2) if bias is None else (0, 1, 2, 3))(
            attention, x, read, bias
        )

    plain = gradients(attention, *inputs, bias)
    with compiling_for("tpu"), pltpu.force_tpu_interpret_mode():
        fused = gradients(attention, *inputs, bias)
    scale = jax.tree.map(lambda x: float(jnp.abs(x).max()), plain)
    close = 2e-6 if dtype == "float32" else 2e-2
    chex.assert_trees_all_close(
        *(jax.tree.map(lambda x, s: x / s, tree, scale) for tree in (plain, fused)), atol=close, rtol=0
    )


def test_sizes_the_kernel_takes() -> None:
    assert fits(512, 512, 8, 64)
    assert fits(64, 512, 8, 64)
    assert fits(1024, 1024, 12, 64)
    assert not fits(512, 500, 8, 64), "keys fill the lanes"
    assert not fits(512, 2048, 8, 64), "scores fit on the chip"
    assert not fits(7, 128, 8, 64)
    assert not fits(512, 512, 7, 64), "groups of heads fill the lanes"


@pytest.mark.slow
def test_training_loss_on_a_mesh() -> None:
    """The loss and its gradients, with dropout, are those of one device and of the plain form."""
    config = T5Config(vocab=64, d_model=16, d_kv=8, heads=2, d_ff=32, encoder_layers=1, decoder_layers=1)
    draw = np.random.default_rng(0)
    source, target = (jnp.asarray(draw.integers(2, 64, (4, n)), jnp.int32) for n in (128, 8))
    ones = jnp.ones_like(target)
    batch = Batch(source, jnp.ones_like(source), target, ones, ones.astype(jnp.float32))
    model = T5(config, OovConfig("none"), None, 64, rngs=nnx.Rngs(0))
    params, buffers, loss = functional(model, sequence_loss)

    def gradients(batch: Batch):
        return jax.jit(jax.value_and_grad(lambda p, b: loss(p, buffers, b, jax.random.key(3))[0]))(params, batch)

    plain = gradients(batch)
    mesh = make_mesh(2, 1, jax.devices()[:2])
    by_row = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    with compiling_for("tpu"), pltpu.force_tpu_interpret_mode():
        one = gradients(batch)
        with tracing_over(mesh):
            two = gradients(jax.device_put(batch, by_row))
    chex.assert_trees_all_close(plain, one, atol=2e-5, rtol=1e-4)
    chex.assert_trees_all_close(jax.device_get(one), jax.device_get(two), atol=2e-5, rtol=1e-4)
