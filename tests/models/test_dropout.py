import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrec.models.dropout import Dropout, keep_mask

SHAPE = (64, 1000)
DEVIATIONS = 5.0  # a fair mask leaves the band in 1 of 1.7 million tests


def numpy_mask(seed: np.ndarray, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """The same hash in unbounded Python integers, one entry at a time."""
    word = 2**32
    kept = []
    for place in range(int(np.prod(shape))):
        x = place ^ int(seed[0])
        x = (x ^ (x >> 16)) * 0x21F0AAAD % word
        x ^= int(seed[1])
        x = (x ^ (x >> 15)) * 0xD35A2D97 % word
        kept.append((x ^ (x >> 15)) / word < 1 - rate)
    return np.reshape(kept, shape)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_kept_share_and_the_scale(rate: float) -> None:
    out = np.asarray(Dropout(rate, jax.random.key(0))(jnp.ones(SHAPE)))
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < DEVIATIONS * np.sqrt(rate * (1 - rate) / kept.size)
    # Rows and columns are as even as chance makes them: no stripes.
    for axis in (0, 1):
        z = (kept.mean(axis) - (1 - rate)) / np.sqrt(rate * (1 - rate) / SHAPE[axis])
        assert np.abs(z).max() < DEVIATIONS
        assert 0.5 < z.std() < 1.5


def test_the_mask_equals_integer_arithmetic_by_hand() -> None:
    seed = np.array([123456789, 987654321], np.uint32)
    mask = keep_mask(jnp.asarray(seed), (3, 5, 7), 0.3)
    np.testing.assert_array_equal(mask, numpy_mask(seed, (3, 5, 7), 0.3))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """In standard deviations of what independent entries would show."""
    return abs(float(np.corrcoef(a.ravel(), b.ravel())[0, 1])) * np.sqrt(a.size)


def test_sites_steps_and_neighbours_are_uncorrelated() -> None:
    masks = []
    for step in range(4):
        drop = Dropout(0.3, jax.random.fold_in(jax.random.key(7), step))
        masks += [np.asarray(drop(jnp.ones(SHAPE)) != 0) for _ in range(4)]
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert correlation(mask, other) < DEVIATIONS
        assert correlation(mask[1:], mask[:-1]) < DEVIATIONS
        assert correlation(mask[:, 1:], mask[:, :-1]) < DEVIATIONS
        assert correlation(mask[:, ::2], mask[:, 1::2]) < DEVIATIONS


def test_off_without_a_key_or_a_rate() -> None:
    x = jnp.arange(6.0)
    assert Dropout(0.5, None)(x) is x
    assert Dropout(0.0, jax.random.key(0))(x) is x
    with pytest.raises(ValueError, match="is not a rate"):
        Dropout(1.0, None)


def test_the_gradient_uses_the_same_mask_and_traces_once() -> None:
    @jax.jit
    @chex.assert_max_traces(1)
    def dropped(x: jax.Array, key: jax.Array) -> jax.Array:
        return Dropout(0.4, key)(x)

    key = jax.random.key(3)
    x = jax.random.normal(jax.random.key(1), (8, 16))
    out = dropped(x, key)
    gradient = jax.grad(lambda x: dropped(x, key).sum())(x)
    np.testing.assert_allclose(out, gradient * x, rtol=1e-6)
    with jax.disable_jit():
        np.testing.assert_array_equal(Dropout(0.4, key)(x), out)


def test_the_mask_does_not_depend_on_the_sharding() -> None:
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    x = jax.random.normal(jax.random.key(1), (8, 6, 4))
    dropped = jax.jit(lambda x, key: Dropout(0.4, key)(x))
    want = dropped(x, jax.random.key(3))
    for spec in (PartitionSpec("data"), PartitionSpec(None, "model"), PartitionSpec("data", None, "model")):
        got = dropped(jax.device_put(x, NamedSharding(mesh, spec)), jax.random.key(3))
        np.testing.assert_array_equal(got, want)
