"""GRU4Rec: the unit beside PyTorch's, and sequences that share a row beside the same ones alone."""

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxrec.baselines.gru4rec import Gru, Gru4Rec, Gru4RecConfig


def test_the_unit_is_pytorchs() -> None:
    ours, theirs = Gru(5, 7, "float32", rngs=nnx.Rngs(0)), torch.nn.GRU(5, 7, batch_first=True)
    assert ours.inward.bias is not None
    with torch.no_grad():
        for mine, name in (
            (ours.inward.kernel, "weight_ih_l0"),
            (ours.inward.bias, "bias_ih_l0"),
            (ours.recurrent, "weight_hh_l0"),
            (ours.recurrent_bias, "bias_hh_l0"),
        ):
            mine[...] = jnp.asarray(getattr(theirs, name).numpy().T)
    x = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    fresh = np.arange(6)[None] == np.zeros((3, 1))
    expected = theirs(torch.tensor(x))[0].detach()
    np.testing.assert_allclose(ours(jnp.asarray(x), jnp.asarray(fresh)), expected, atol=1e-6)
    twice = ours(jnp.asarray(x), jnp.asarray(fresh | (np.arange(6) == 4)[None]))
    np.testing.assert_allclose(twice[:, 4:], theirs(torch.tensor(x[:, 4:]))[0].detach(), atol=1e-6)
    np.testing.assert_allclose(twice[:, :4], expected[:, :4], atol=1e-6)


def test_sequences_that_share_a_row_do_not_meet() -> None:
    model = Gru4Rec(Gru4RecConfig(dim=6, hidden=8, compute_dtype="float32"), 15, rngs=nnx.Rngs(0))
    one, two = [3, 7, 1], [9, 2, 2, 15]
    packed = model(np.array([one + two + [0]]), np.array([[1] * 3 + [2] * 4 + [0]]))[0]
    np.testing.assert_allclose(packed[:3], model(np.array([one]), np.ones((1, 3), int))[0], atol=1e-5)
    np.testing.assert_allclose(packed[3:7], model(np.array([two]), np.ones((1, 4), int))[0], atol=1e-5)
    answers = model.answers(np.array([[*one, 0, 0], [0] * 5]), np.zeros(2, int))
    np.testing.assert_allclose(answers[0], packed[2], atol=1e-5)
    assert np.isfinite(answers[1]).all()
