"""One program on any mesh: where arrays lie, equal losses on 1 and 2 x 2 devices, in one process and in two."""

import json
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxrec.training import sharding
from jaxrec.training.loop import initial_state


def test_make_mesh() -> None:
    assert dict(sharding.make_mesh().shape) == {"data": 4, "model": 1}
    assert dict(sharding.make_mesh(0, 2).shape) == {"data": 2, "model": 2}
    assert dict(sharding.make_mesh(1, 2).shape) == {"data": 1, "model": 2}
    assert sharding.single_device_mesh().size == 1
    with pytest.raises(ValueError, match="needs 6 devices, there are 4"):
        sharding.make_mesh(3, 2)
    with pytest.raises(ValueError, match="needs 0 devices"):
        sharding.make_mesh(0, 8)


def test_the_first_rule_that_is_found_holds() -> None:
    mesh = sharding.make_mesh(2, 2)
    tree = {"a": {"table": jnp.zeros((4, 3))}, "b": {"table": jnp.zeros((4, 3)), "w": jnp.zeros((4, 3))}}
    rules = [("b/table", PartitionSpec(None, None)), ("table$", PartitionSpec("model", None))]
    placed = sharding.shardings(tree, mesh, rules)
    assert placed["a"]["table"].spec == PartitionSpec("model", None)
    assert placed["b"]["table"].spec == PartitionSpec(None, None)
    assert placed["b"]["w"].spec == PartitionSpec()


def test_an_axis_that_does_not_divide_is_named() -> None:
    mesh = sharding.make_mesh(2, 2)
    with pytest.raises(ValueError, match=r"table \(5, 3\): 5 doesn't divide over the 2 devices of mesh axis 'model'"):
        sharding.shardings({"table": jnp.zeros((5, 3))}, mesh, [("table", PartitionSpec("model", None))])
    with pytest.raises(ValueError, match="too few axes"):
        sharding.shardings({"table": jnp.zeros(4)}, mesh, [("table", PartitionSpec("model", None))])


def test_moments_follow_their_parameters() -> None:
    mesh = sharding.make_mesh(2, 2)
    params = {"table": jnp.ones((4, 3)), "w": jnp.ones((3, 3))}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    rules = [("^table$", PartitionSpec("model", None))]  # anchored: moments are not found by name but by parameter
    state = initial_state(params, optimizer, jax.random.key(0), mesh, rules)
    adam = state.opt_state[1][0]
    for tree in (state.params, adam.mu, adam.nu):
        assert tree["table"].sharding == NamedSharding(mesh, PartitionSpec("model", None))
        assert tree["table"].addressable_shards[0].data.shape == (2, 3)
        assert tree["w"].sharding.is_fully_replicated
    assert adam.count.sharding.is_fully_replicated


def test_what_is_donated_is_nobody_elses() -> None:
    mine = {"w": jnp.ones((4, 3)), "key": jax.random.key(0)}
    for mesh in (sharding.make_mesh(), sharding.make_mesh(2, 2), sharding.single_device_mesh()):
        copies = sharding.put(mine, sharding.shardings(mine, mesh, [("^w$", PartitionSpec(None))]))
        jax.jit(lambda tree: {"w": tree["w"] + 1, "key": tree["key"]}, donate_argnums=0)(copies)
        np.testing.assert_array_equal(mine["w"], np.ones((4, 3)))
        assert not mine["key"].is_deleted()


def test_a_batch_lies_over_data() -> None:
    mesh = sharding.make_mesh(2, 2)
    batch = sharding.put_batch({"x": np.arange(8).reshape(4, 2), "n": np.int32(3)}, mesh)
    assert batch["x"].sharding.spec == PartitionSpec("data")
    assert batch["x"].addressable_shards[0].data.shape == (2, 2)
    np.testing.assert_array_equal(batch["x"], np.arange(8).reshape(4, 2))
    assert batch["n"].sharding.is_fully_replicated
    assert sharding.share_of_data(mesh) == (0, 1)


def test_two_by_two_devices_give_the_losses_of_one(small) -> None:
    one = small.losses(small.train().history)
    four = small.losses(small.train(mesh=sharding.make_mesh(2, 2)).history)
    np.testing.assert_allclose(list(four.values()), list(one.values()), rtol=1e-5)


def test_goes_on_on_another_mesh(small, tmp_path) -> None:
    one = small.losses(small.train().history)
    small.train(tmp_path, steps=16, mesh=sharding.make_mesh(2, 2))
    run = small.train(tmp_path, mesh=sharding.make_mesh(1, 4))
    np.testing.assert_allclose(list(small.losses(run.history).values()), list(one.values()), rtol=1e-5)
    assert run.state.params["embedding"][...].addressable_shards[0].data.shape == (16, 8)


def start_two(program, folder, *options: str) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = [sys.executable, str(program), str(folder), "--processes", "2", "--port", port, *options]
    return [subprocess.Popen([*common, "--process", p], stderr=subprocess.PIPE, text=True) for p in "01"]


def kill(runs: list[subprocess.Popen]) -> None:
    """SIGKILL: jax's preemption service catches SIGTERM."""
    for run in runs:
        run.kill()
        run.communicate()


def finish(runs: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Exit codes and what was said on standard error; kills all when one takes too long."""
    try:
        said = [run.communicate(timeout=120)[1] for run in runs]
        return [(run.returncode, text) for run, text in zip(runs, said)]
    except subprocess.TimeoutExpired:
        kill(runs)
        raise


def read(small, folder) -> dict[int, float]:
    return small.losses([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()])


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [("2", "1"), pytest.param(("1", "2"), marks=pytest.mark.soak)])
def test_two_processes_give_the_losses_of_one(small, program, tmp_path, mesh) -> None:
    one = small.losses(small.train().history)
    for code, text in finish(start_two(program, tmp_path, "--data", mesh[0], "--model", mesh[1])):
        assert code == 0, text
    two = read(small, tmp_path)
    assert list(two) == list(one)
    np.testing.assert_allclose(list(two.values()), list(one.values()), rtol=1e-5)
    resumed = small.train(tmp_path, steps=48, schedule_steps=40)  # two processes saved, one goes on
    assert list(small.losses(resumed.history)) == list(range(1, 49))


@pytest.mark.soak
def test_two_processes_agree_when_one_is_told_to_stop(small, program, tmp_path) -> None:
    runs = start_two(program, tmp_path, "--data", "2", "--pause", "0.1", "--steps", "400")
    try:
        deadline = time.monotonic() + 120
        while not ((tmp_path / "metrics.jsonl").exists() and len(read(small, tmp_path)) > 5):
            assert all(run.poll() is None for run in runs)
            assert time.monotonic() < deadline, "the runs make no progress"
            time.sleep(0.05)
        runs[1].send_signal(signal.SIGTERM)
        ended = finish(runs)
    finally:
        kill(runs)
    for code, text in ended:
        assert code == 128 + signal.SIGTERM, text
    left_at = max(read(small, tmp_path))
    assert left_at < 400
    assert (tmp_path / "checkpoints" / str(left_at)).is_dir()
