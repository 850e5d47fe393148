"""Attention to a prompt, worked by hand for models whose queries are zero."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, T5Config
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.llama import Llama
from jaxrec.models.t5 import T5
from jaxrec.report.answer_attention import mean_attention


def attention_of(model: LanguageModel, source: jax.Array, inputs: jax.Array) -> jax.Array:
    weights = mean_attention(model, source, inputs)
    assert weights is not None
    return weights


def test_a_key_that_is_all_alone_gets_all_of_the_decoders_attention() -> None:
    model = T5(T5Config(vocab=32, d_model=16, d_kv=8, heads=2, d_ff=16, encoder_layers=1, decoder_layers=2),
               OovConfig("none"), None, 32, rngs=nnx.Rngs(0))  # fmt: skip
    inputs = jnp.array([[0, 5, 6]])
    weights = attention_of(model, jnp.array([[4, 9, 7, 9]]), inputs)
    assert weights.shape == (3, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    for layer in model.decoder.layers:  # without queries every key counts alike
        layer.cross.query[...] = jnp.zeros_like(layer.cross.query[...])
    np.testing.assert_allclose(attention_of(model, jnp.array([[4, 9, 7, 9]]), inputs), 0.25, rtol=1e-5)


def test_a_decoder_only_models_attention_stays_causal_and_in_its_window() -> None:
    shape = LlamaConfig(vocab=32, d_model=16, d_kv=8, heads=4, kv_heads=2, d_ff=16, layers=2)
    source, inputs = jnp.array([[4, 9, 7, 8]]), jnp.array([[3, 5, 6]])

    def weights(**changed) -> jax.Array:
        model = Llama(
            dataclasses.replace(shape, **changed), OovConfig("none"), LoraConfig(), None, 32, 3, rngs=nnx.Rngs(0)
        )
        for layer in model.layers:
            layer.attention.query.kernel[...] = jnp.zeros_like(layer.attention.query.kernel[...])
        return attention_of(model, source, inputs)

    # Without queries all that is seen counts alike: the prompt's four, and the answer's tokens up to the one asked.
    np.testing.assert_allclose(weights(), np.repeat([[1 / 5], [1 / 6], [1 / 7]], 4, axis=1), rtol=1e-5)
    near = weights(window=3)
    np.testing.assert_allclose(near, np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]) / 3, atol=1e-6)
    half = weights(window=3, windowed=(1,))
    np.testing.assert_allclose(half, (np.asarray(near) + np.asarray(weights())) / 2, rtol=1e-5)
