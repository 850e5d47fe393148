"""A module as pure functions."""

import jax
import numpy as np
from flax import nnx

from jaxrec.training.state import functional, rebuilder


def test_parameters_and_buffers_are_told_apart(small) -> None:
    params, buffers, _ = functional(small.Model(rngs=nnx.Rngs(0)), small.loss)
    assert set(params) == {"embedding", "hidden"}
    assert set(buffers) == {"shift"}


def test_the_pure_loss_equals_the_modules(small) -> None:
    model = small.Model(rngs=nnx.Rngs(0))
    params, buffers, loss_fn = functional(model, small.loss)
    batch, key = {"tokens": np.arange(10, dtype=np.int32).reshape(2, 5)}, jax.random.key(3)
    for k in (None, key):
        expected, _ = small.loss(model, batch, k)
        np.testing.assert_allclose(loss_fn(params, buffers, batch, k)[0], expected, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(loss_fn)(params, buffers, batch, k)[0], expected, rtol=1e-6)
    gradients = jax.grad(lambda p: loss_fn(p, buffers, batch, key)[0])(params)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_rebuilding_gives_a_module_with_other_arrays(small) -> None:
    model = small.Model(rngs=nnx.Rngs(0))
    params, buffers, _ = functional(model, small.loss)
    doubled = rebuilder(model)(jax.tree.map(lambda x: 2 * x, params), buffers)
    np.testing.assert_array_equal(doubled.embedding[...], 2 * model.embedding[...])
    np.testing.assert_array_equal(doubled.shift[...], model.shift[...])
