"""`fit`: traced once, never touches what it was given, learns, validates, stops, resumes exactly, refuses nonsense."""

import json

import chex
import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrec.training.interrupt import OutOfTimeError, time_limit
from jaxrec.training.loop import fit, make_step
from jaxrec.training.plan import Plan
from jaxrec.training.state import TrainState, functional


def pure(model, loss):
    params, buffers, loss_fn = functional(model, loss)
    return loss_fn, params, buffers


@pytest.fixture(scope="module")
def whole(small):
    return small.train()


def test_one_step_of_gradient_descent_by_hand() -> None:
    # loss = mean over rows of (w x - y)^2 with w = 2: rows (1, 0), (3, 0): gradient = mean(2 x (w x)) = 2 (2 + 18) / 2
    def loss_fn(params, buffers, batch, key):
        return jnp.mean((params["w"] * batch[:, 0] - batch[:, 1]) ** 2), {}

    optimizer = optax.sgd(0.1)
    params = {"w": jnp.float32(2)}
    state = TrainState(jnp.int32(0), params, optimizer.init(params), jax.random.key(0))
    batch = jnp.array([[1.0, 0.0], [3.0, 0.0]])
    for step in (make_step(loss_fn, optimizer), jax.jit(make_step(loss_fn, optimizer))):
        after, metrics = step(state, {}, batch)
        assert float(metrics["loss"]) == 20  # (4 + 36) / 2
        assert float(metrics["gradient_norm"]) == 20
        np.testing.assert_allclose(after.params["w"], 0.0, atol=1e-6)  # 2 - 0.1 * 20
        assert int(after.step) == 1


def test_learns_and_selects_the_best(small, whole) -> None:
    losses = small.losses(whole.history)
    assert sorted(losses) == list(range(1, small.STEPS + 1))
    assert losses[small.STEPS] < 0.8 * losses[1]
    scores = {r["step"]: r["valid/score"] for r in whole.history if "valid/score" in r}
    assert sorted(scores) == [8, 16, 24, 32, 40]
    assert not whole.stopped
    assert all(rate in whole.history[0] for rate in ("examples_per_second", "tokens_per_second"))


def test_traced_once_and_the_key_changes_with_the_step(small) -> None:
    @chex.assert_max_traces(n=1)
    def loss(model, batch, key):
        return jax.random.uniform(key) + 0 * model.embedding[...].sum(), {}

    model = small.Model(rngs=nnx.Rngs(0))
    run = fit(*pure(model, loss), optax.sgd(0.1), small.data(), Plan(6, log_every=1), key=jax.random.key(0))
    key = jax.random.key(0)
    drawn = {n + 1: float(jax.random.uniform(jax.random.fold_in(key, n))) for n in range(6)}
    assert small.losses(run.history) == drawn


def test_the_callers_arrays_stay_whole(small) -> None:
    model = small.Model(rngs=nnx.Rngs(0))
    before = np.asarray(model.embedding[...]).copy()
    loss_fn, params, buffers = pure(model, small.loss)
    run = fit(loss_fn, params, buffers, optax.sgd(0.1), small.data(), Plan(3), key=jax.random.key(0))
    np.testing.assert_array_equal(model.embedding[...], before)
    np.testing.assert_array_equal(model.shift[...], run.buffers["shift"][...])
    assert np.abs(run.best_params["embedding"][...] - before).max() > 0


def test_the_state_is_donated() -> None:
    optimizer = optax.sgd(0.1)
    params = {"w": jnp.ones(3)}
    state = TrainState(jnp.int32(0), params, optimizer.init(params), jax.random.key(0))
    step = jax.jit(make_step(lambda p, b, batch, key: (p["w"].sum(), {}), optimizer), donate_argnums=0)
    step(state, {}, jnp.zeros(2))
    assert state.params["w"].is_deleted()


def test_resuming_is_exact(small, whole, tmp_path) -> None:
    small.train(tmp_path, steps=19)
    run = small.train(tmp_path)
    assert small.losses(run.history) == small.losses(whole.history)
    chex.assert_trees_all_equal(run.best_params, whole.best_params)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == run.history
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_time_limit_ends_it_after_a_step_and_it_goes_on(small, whole, tmp_path) -> None:
    for _ in range(3):
        with time_limit(0.0), pytest.raises(OutOfTimeError, match="time is up after step"):
            small.train(tmp_path)
    run = small.train(tmp_path)
    assert small.losses(run.history) == small.losses(whole.history)
    chex.assert_trees_all_equal(run.best_params, whole.best_params)


def test_a_finished_run_returns_at_once(small, tmp_path) -> None:
    first = small.train(tmp_path, steps=8)

    def never(model, batch, key):
        raise AssertionError("a finished run was trained")

    again = small.train(tmp_path, steps=8, loss=never)
    assert again.history == first.history
    chex.assert_trees_all_equal(again.best_params, first.best_params)
    chex.assert_trees_all_equal(again.state.opt_state, first.state.opt_state)


@pytest.mark.parametrize("with_folder", [False, True])
def test_stops_early_and_keeps_the_best(small, tmp_path, with_folder) -> None:
    folder = tmp_path if with_folder else None
    scripted = iter([0.1, 0.3, 0.3, 0.2, 0.9])
    seen = []

    def validate(params, buffers):
        seen.append(jax.tree.map(np.array, params))
        return {"score": next(scripted)}

    run = small.train(folder, validate=validate, validate_every=2, patience=2)
    assert run.stopped
    assert int(run.state.step) == 8  # better at 4; a tie at 6 and less at 8 are two in vain
    chex.assert_trees_all_equal(jax.tree.map(np.array, run.best_params), seen[1])
    if with_folder:
        again = small.train(folder, validate=validate, validate_every=2, patience=2)
        assert again.stopped
        chex.assert_trees_all_equal(jax.tree.map(np.array, again.best_params), seen[1])


def test_patience_and_best_survive_a_resume(small, tmp_path) -> None:
    scripted = iter([0.3, 0.2, 0.1])
    settings = {"validate": lambda params, buffers: {"score": next(scripted)}, "validate_every": 4, "patience": 2}
    small.train(tmp_path, steps=8, **settings)
    run = small.train(tmp_path, **settings)
    assert run.stopped
    assert int(run.state.step) == 12
    fourth = small.train(steps=4, validate_every=0)
    chex.assert_trees_all_equal(run.best_params, fourth.state.params)


def test_without_validation_the_mean_loss_selects(small, tmp_path) -> None:
    settings = {"validate": None, "validate_every": 10, "select": "loss", "mode": "min"}
    run = small.train(**settings)
    losses = list(small.losses(run.history).values())
    means = [r["mean_loss"] for r in run.history if "mean_loss" in r]
    np.testing.assert_allclose(means, np.reshape(losses, (4, 10)).mean(1), rtol=1e-12)
    small.train(tmp_path, steps=15, **settings)  # validates at its end as well: a mean of five
    resumed = small.train(tmp_path, **settings)
    assert small.losses(resumed.history) == small.losses(run.history)
    at_20 = next(r["mean_loss"] for r in resumed.history if r["step"] == 20 and "mean_loss" in r)
    np.testing.assert_allclose(at_20, np.mean(losses[15:20]), rtol=1e-12)


def test_a_loss_that_is_not_finite_stops_the_run(small, tmp_path) -> None:
    def poisoned(params, buffers, batch, key):
        return params["w"] * jnp.where(batch["tokens"].min() >= 0, 1.0, jnp.nan), {}

    class Poison(small.Rows):
        def __len__(self) -> int:
            return 30

        def __getitem__(self, index):
            row = super().__getitem__(index)["tokens"]
            return {"tokens": row if index < 20 else -row - 1}

    rows = grain.MapDataset.source(Poison()).batch(1).to_iter_dataset()
    plan, key = Plan(30, validate_every=10, select="loss", mode="min"), jax.random.key(0)
    with pytest.raises(FloatingPointError, match=r"step 21 .*nan.*lower the learning rate") as caught:
        fit(poisoned, {"w": jnp.float32(1)}, {}, optax.sgd(0.1), rows, plan, key=key, folder=tmp_path)
    assert "step 20" in caught.value.__notes__[0]
    assert (tmp_path / "checkpoints" / "20").is_dir()
    assert not (tmp_path / "checkpoints" / "30").exists()


def test_bad_calls_are_named(small, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"select='other' is not among.*score"):
        small.train(steps=8, select="other")
    with pytest.raises(ValueError, match="steps=0"):
        small.train(steps=0)
    with pytest.raises(ValueError, match="nothing can be selected"):
        small.train(steps=8, validate=lambda params, buffers: {"score": float("nan")})
    loss_fn, params, buffers = pure(small.Model(rngs=nnx.Rngs(0)), small.loss)
    short = grain.MapDataset.source(small.Rows()).batch(48).to_iter_dataset()
    with pytest.raises(ValueError, match="the data ended"):
        fit(loss_fn, params, buffers, optax.sgd(0.1), short, Plan(5), key=jax.random.key(0))


def test_a_moving_average_is_validated_kept_and_resumed(small, tmp_path) -> None:
    """Beside the average of the parameters after each step, by hand."""
    states = []

    def watch(params, buffers):
        states.append(jax.tree.map(np.array, params))
        return {"score": float(len(states))}

    settings = {"validate": watch, "validate_every": 1, "steps": 12}
    small.train(**settings)
    plain, states[:] = list(states), []
    expected = jax.tree.map(np.array, functional(small.Model(rngs=nnx.Rngs(0)), small.loss)[0])
    averages = []
    for step, params in enumerate(plain, start=1):
        decay = min(0.8, step / (9 + step))
        expected = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * new, expected, params)
        averages.append(expected)
    run = small.train(average=0.8, **settings)
    for actual, wanted in zip(states, averages, strict=True):
        chex.assert_trees_all_close(actual, wanted, atol=1e-5)
    chex.assert_trees_all_equal(jax.tree.map(np.array, run.best_params), states[-1])
    chex.assert_trees_all_close(jax.tree.map(np.array, run.state.params), plain[-1], atol=1e-6)

    settings["validate"] = lambda params, buffers: {"score": 0.0}
    small.train(tmp_path, average=0.8, **{**settings, "steps": 5})
    resumed = small.train(tmp_path, average=0.8, **settings)
    chex.assert_trees_all_equal(resumed.state.params, run.state.params)
    chex.assert_trees_all_equal(resumed.state.average, run.state.average)


def test_an_average_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="average=1"):
        Plan(3, average=1)
