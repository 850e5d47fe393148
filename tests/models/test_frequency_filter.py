"""The filter of a history: the Fourier transform's low frequencies of what is before each position."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import FilterConfig, LlamaConfig, LoraConfig
from jaxrec.models.decoding import same_segment
from jaxrec.models.dropout import Dropout
from jaxrec.models.frequency_filter import FilteredLayer, low_pass
from jaxrec.models.llama import Drops, Layer
from jaxrec.models.rope import rotations

SHAPE = LlamaConfig(d_model=8, d_kv=4, heads=2, kv_heads=2, d_ff=16, layers=1, tied=True)
DROPS = Drops(Dropout(0, None), Dropout(0, None))


def causal(segments: list[int]) -> jax.Array:
    numbers = jnp.asarray(segments)[None]
    return same_segment(numbers, numbers) & np.tri(len(segments), dtype=bool)[None]


def by_fourier(z: np.ndarray, config: FilterConfig) -> np.ndarray:
    """The last row of the low frequencies of the last `period` rows of z, missing ones being zeros; f64[D]."""
    window = np.zeros((config.period, z.shape[1]))
    kept = z[-config.period :]
    window[len(window) - len(kept) :] = kept
    spectrum = np.fft.rfft(window, axis=0)
    spectrum[config.frequencies + 1 :] = 0
    return np.fft.irfft(spectrum, n=config.period, axis=0)[-1]


def test_each_position_has_the_low_frequencies_of_what_is_before_it() -> None:
    config = FilterConfig(weight=0.5, frequencies=2, period=9)
    segments = [1] * 14 + [2] * 5
    z = np.random.default_rng(0).normal(size=(len(segments), 3)).astype(np.float32)
    got = low_pass(causal(segments), config)[0] @ z
    for place, segment in enumerate(segments):
        first = segments.index(segment)
        np.testing.assert_allclose(got[place], by_fourier(z[first : place + 1], config), atol=1e-5)


def layer_of(settings: FilterConfig) -> FilteredLayer:
    return FilteredLayer(SHAPE, settings, rngs=nnx.Rngs(0))


def run(layer: Layer, x: jax.Array, segments: list[int]) -> jax.Array:
    mask = causal(segments)
    rotation = rotations(mask.sum(-1) - 1, SHAPE.rope, SHAPE.d_kv)
    return jax.jit(lambda x: layer(x, rotation, mask, DROPS))(x)


def test_without_weight_it_is_a_layer() -> None:
    x = jax.random.normal(jax.random.key(0), (1, 6, 8))
    plain = Layer(SHAPE, LoraConfig(), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(run(layer_of(FilterConfig()), x, [1] * 6), run(plain, x, [1] * 6), rtol=1e-5, atol=1e-6)


def test_the_mixture_by_hand() -> None:
    settings = FilterConfig(weight=1.0, frequencies=1, period=7)
    layer = layer_of(settings)
    layer.filter_bias = nnx.Param(jnp.arange(8.0) / 4)
    x = jax.random.normal(jax.random.key(1), (1, 5, 8))
    z = np.asarray(layer.attention_norm(x))[0]
    low = np.stack([by_fourier(z[: n + 1], settings) for n in range(5)])
    mixed = x + jnp.asarray(low + (np.arange(8) / 4) ** 2 * (z - low), jnp.float32)[None]
    wanted = mixed + layer.feed_forward(layer.feed_forward_norm(mixed), DROPS.adapter)
    np.testing.assert_allclose(run(layer, x, [1] * 5), wanted, rtol=1e-5, atol=1e-5)


def test_no_position_sees_what_follows_it_or_another_segment() -> None:
    layer = layer_of(FilterConfig(weight=0.7))
    x = jax.random.normal(jax.random.key(2), (1, 8, 8))
    segments = [1] * 5 + [2] * 3
    changed = x.at[0, 3].add(1)
    difference = np.abs(np.asarray(run(layer, changed, segments) - run(layer, x, segments)))[0].max(axis=1)
    assert (difference[[0, 1, 2, 5, 6, 7]] == 0).all()
    assert (difference[[3, 4]] > 1e-3).all()


def test_its_numbers_are_learned() -> None:
    graph, params = nnx.split(layer_of(FilterConfig(weight=0.7)))
    x = jax.random.normal(jax.random.key(3), (1, 6, 8))

    def loss(params: nnx.State) -> jax.Array:
        return jnp.square(run(nnx.merge(graph, params), x, [1] * 6)).sum()

    gradient = jax.jit(jax.grad(loss))(params)["filter_bias"][...]
    assert (np.abs(np.asarray(gradient)) > 1e-4).all()
