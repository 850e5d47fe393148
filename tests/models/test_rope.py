import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config import RopeConfig
from jaxrec.models.rope import frequencies, rotate, rotations

KINDS = {
    "default": RopeConfig(theta=500.0),
    "linear": RopeConfig(kind="linear", factor=3.0),
    "llama3": RopeConfig(theta=5e5, kind="llama3", factor=8.0, original_length=256),
    "yarn": RopeConfig(kind="yarn", factor=4.0, original_length=512),
    "yarn-short": RopeConfig(kind="yarn", factor=4.0, original_length=8, beta_fast=2.0, attention_factor=1.5),
}


def reference(rope: RopeConfig, width: int):
    """Hugging Face's own functions."""
    pytest.importorskip("torch")
    module = pytest.importorskip("transformers.modeling_rope_utils")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    parameters = {"rope_type": rope.kind, "rope_theta": rope.theta}
    if rope.kind != "default":
        parameters["factor"] = rope.factor
    if rope.kind in ("llama3", "yarn"):
        parameters["original_max_position_embeddings"] = rope.original_length
    if rope.kind == "llama3":
        parameters |= {"low_freq_factor": rope.low, "high_freq_factor": rope.high}
    if rope.kind == "yarn":
        parameters |= {"beta_slow": rope.beta_slow, "beta_fast": rope.beta_fast}
        parameters["attention_factor"] = rope.attention_factor
    config = LlamaConfig(hidden_size=4 * width, num_attention_heads=4, rope_parameters=parameters)
    if rope.kind == "default":
        return LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    return module.ROPE_INIT_FUNCTIONS[rope.kind](config)


@pytest.mark.parametrize("name", KINDS)
def test_frequencies_equal_hugging_faces(name: str) -> None:
    for width in (8, 64, 128):
        want, scale = reference(KINDS[name], width)
        got, found_scale = frequencies(KINDS[name], width)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-6)
        assert found_scale == pytest.approx(scale, rel=1e-12)


def test_frequencies_by_hand() -> None:
    got, scale = frequencies(RopeConfig(theta=100.0), 4)
    np.testing.assert_allclose(got, [1.0, 0.1], rtol=1e-6)
    assert scale == 1
    # Wavelengths 2 pi and 20 pi over 100 positions: 15.9 turns are kept whole, 1.59 are (1.59 - 1) / 3 of the way.
    share = (100 / (20 * np.pi) - 1) / 3
    got, _ = frequencies(RopeConfig(theta=100.0, kind="llama3", factor=5.0, original_length=100), 4)
    np.testing.assert_allclose(got, [1.0, 0.1 * (share + (1 - share) / 5)], rtol=1e-6)
    _, scale = frequencies(RopeConfig(kind="yarn", factor=float(np.e)), 4)
    assert scale == pytest.approx(1.1)


def test_a_pair_is_turned_by_its_angle() -> None:
    x = np.zeros((1, 1, 2, 4), np.float32)
    x[0, 0, :, 0] = 1  # pairs are (0, 2) and (1, 3)
    x[0, 0, :, 3] = 2
    positions = np.array([[0, 3]])
    got = rotate(x, rotations(positions, RopeConfig(theta=100.0), 4))
    np.testing.assert_allclose(got[0, 0, 0], x[0, 0, 0], atol=1e-7)
    want = [np.cos(3), -2 * np.sin(0.3), np.sin(3), 2 * np.cos(0.3)]
    np.testing.assert_allclose(got[0, 0, 1], want, atol=1e-6)


def test_products_depend_on_the_distance_alone() -> None:
    query, key = jax.random.normal(jax.random.key(0), (2, 1, 2, 1, 16))

    @jax.jit
    @chex.assert_max_traces(1)
    def product(at: jax.Array, to: jax.Array) -> jax.Array:
        turned = [rotate(x, rotations(p, KINDS["llama3"], 16)) for x, p in ((query, at), (key, to))]
        return jnp.sum(turned[0] * turned[1], axis=-1)

    near, far, other = (product(np.array([[p]]), np.array([[q]])) for p, q in ((5, 2), (905, 902), (5, 3)))
    np.testing.assert_allclose(near, far, atol=1e-3)
    assert np.abs(near - other).max() > 0.01


def test_refusals() -> None:
    with pytest.raises(ValueError, match="a head has 5 entries"):
        frequencies(RopeConfig(), 5)
    with pytest.raises(ValueError, match="'dynamic' is not one of"):
        frequencies(types.SimpleNamespace(kind="dynamic", theta=1e4), 4)  # type: ignore[arg-type]
