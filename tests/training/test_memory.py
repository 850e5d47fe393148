"""A loss with a memory of its own: renewed by every step, and part of checkpoints."""

import pathlib

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.training.loop import Fitted, fit, make_step
from jaxrec.training.plan import Plan
from jaxrec.training.state import LossWithMemory, TrainState

ROWS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


def init(params, buffers):
    """The parameters themselves, which must not be donated twice."""
    return {"last": params["w"], "calls": jnp.int32(0)}


def gradients(params, memory, buffers, batch, key):
    """The gradient of the squared error at the parameters that the memory has, which are those of the step before."""
    noise = buffers["scale"] * jax.random.normal(key, (batch.shape[0],))

    def loss(w):
        return jnp.mean((batch @ w - 1 + noise) ** 2)

    value, gradient = jax.value_and_grad(loss)(memory["last"])
    memory = {"last": params["w"], "calls": memory["calls"] + 1}
    return (value, {"calls": memory["calls"].astype(jnp.float32)}), {"w": gradient}, memory


LOSS = LossWithMemory(init, gradients)
BUFFERS = {"scale": jnp.float32(0.1)}


def train(folder: pathlib.Path | None = None, *, validate=lambda params, buffers: {"score": 1.0}) -> Fitted:
    data = grain.MapDataset.source(ROWS).seed(0).shuffle().repeat().batch(8).to_iter_dataset()
    plan = Plan(12, validate_every=4, select="score", log_every=1)
    params = {"w": jnp.ones(3)}
    return fit(
        LOSS, params, BUFFERS, optax.adam(0.1), data, plan, key=jax.random.key(1), folder=folder, validate=validate
    )


def test_two_steps_by_hand() -> None:
    # loss (2 w - 1)^2 at w = 1 and again at w = 1, which was in memory: both gradients are 2 * 2 * (2 - 1) = 4
    optimizer, batch, still = optax.sgd(0.1), jnp.array([[2.0]]), {"scale": jnp.float32(0)}
    params = {"w": jnp.ones(1)}
    state = TrainState(jnp.int32(0), params, optimizer.init(params), jax.random.key(0), memory=init(params, still))
    step = jax.jit(make_step(LOSS, optimizer))
    for number, w in ((1, 0.6), (2, 0.2)):
        state, metrics = step(state, still, batch)
        assert float(metrics["loss"]) == 1
        assert float(metrics["gradient_norm"]) == 4
        np.testing.assert_allclose(state.params["w"], [w], rtol=1e-6)
        assert int(state.memory["calls"]) == number
    np.testing.assert_allclose(state.memory["last"], [0.6], rtol=1e-6)


def test_a_killed_run_goes_on_bit_for_bit_with_its_memory(tmp_path: pathlib.Path) -> None:
    whole = train()
    calls = []

    def dies_second(params, buffers):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"score": 1.0}

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, validate=dies_second)
    resumed = train(tmp_path)
    losses = [[record["loss"] for record in run.history if "loss" in record] for run in (whole, resumed)]
    assert len(losses[0]) == 12
    assert losses[0] == losses[1]
    for name in ("last", "calls"):
        np.testing.assert_array_equal(resumed.state.memory[name], whole.state.memory[name])
    assert int(whole.state.memory["calls"]) == 12
    np.testing.assert_array_equal(resumed.state.params["w"], whole.state.params["w"])


def test_checkpoints_without_a_memory_are_as_they_were(small, tmp_path: pathlib.Path) -> None:
    """So that those of older versions load."""
    run = small.train(tmp_path, steps=4)
    assert run.state.memory is None
    names = (tmp_path / "checkpoints" / "4" / "training" / "_METADATA").read_text()
    assert "opt_state" in names
    assert "memory" not in names
