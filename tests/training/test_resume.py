"""A run that was killed, interrupted, damaged or moved goes on as if nothing had happened."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from jaxrec.progress import messages_to
from jaxrec.training.sharding import make_mesh


def start(program: pathlib.Path, folder: pathlib.Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, str(program), str(folder), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_step(run: subprocess.Popen, folder: pathlib.Path, step: int) -> None:
    """Until metrics.jsonl has that step."""
    deadline = time.monotonic() + 120
    path = folder / "metrics.jsonl"
    while not (path.exists() and f'"step": {step},' in path.read_text()):
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.01)


def finish(run: subprocess.Popen) -> tuple[int, str]:
    try:
        _, text = run.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        run.kill()
        raise
    return run.returncode, text


def records(folder: pathlib.Path) -> list[dict]:
    """What metrics.jsonl says, without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "per_second" not in name} for line in lines]


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory) -> list[dict]:
    """The records of a run that nobody disturbed, on the mesh that the program takes."""
    folder = tmp_path_factory.mktemp("whole")
    small.train(folder, mesh=make_mesh())
    return records(folder)


@pytest.mark.soak  # a whole run is killed in tests/launch/test_train.py
def test_kill_9_and_the_same_command(program, tmp_path, whole) -> None:
    run = start(program, tmp_path, "--pause", "0.05")
    wait_for_step(run, tmp_path, 21)
    run.send_signal(signal.SIGKILL)
    assert finish(run)[0] == -signal.SIGKILL
    assert 21 <= records(tmp_path)[-1]["step"] < 40
    code, text = finish(start(program, tmp_path))
    assert code == 0, text
    assert "goes on at step" in text
    assert records(tmp_path) == whole  # each loss, hit rate, gradient norm and validation, to the last bit


@pytest.mark.slow
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.soak), signal.SIGTERM])
def test_a_signal_saves_and_leaves(small, program, tmp_path, whole, number) -> None:
    run = start(program, tmp_path, "--pause", "0.05")
    wait_for_step(run, tmp_path, 10)
    run.send_signal(number)
    code, text = finish(run)
    assert code == 128 + number
    assert "the same command goes on from here" in text
    left_at = records(tmp_path)[-1]["step"]
    assert 10 <= left_at < 40
    assert (tmp_path / "checkpoints" / str(left_at)).is_dir()
    messages: list[str] = []
    with messages_to(messages.append):
        small.train(tmp_path, mesh=make_mesh())
    assert f"goes on at step {left_at}" in "\n".join(messages)
    assert records(tmp_path) == whole


@pytest.mark.slow
def test_a_second_signal_ends_at_once(program, tmp_path) -> None:
    run = start(program, tmp_path, "--pause", "5")
    deadline = time.monotonic() + 120
    while not (tmp_path / "metrics.jsonl").exists():  # made just before training starts
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    for _ in range(2):
        run.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    assert finish(run)[0] == -signal.SIGTERM


def test_a_damaged_newest_checkpoint_is_passed_over(small, tmp_path) -> None:
    small.train(tmp_path / "whole")
    small.train(tmp_path / "run", steps=24)
    newest = tmp_path / "run" / "checkpoints" / "24"
    for file in (newest / "training").rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)
    messages: list[str] = []
    with messages_to(messages.append):
        small.train(tmp_path / "run")
    assert "checkpoint 24" in (text := "\n".join(messages))
    assert "goes on at step 16" in text
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    assert (tmp_path / "run" / "broken" / "24").is_dir()


# orbax leaves reads of the refused checkpoint to an event loop that it has closed; they complain whenever they come.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_of_another_model_is_refused_and_kept(small, tmp_path, monkeypatch) -> None:
    small.train(tmp_path, steps=16)
    monkeypatch.setattr(small, "WIDTH", 4)
    with pytest.raises(ValueError, match="model or the optimizer has changed"):
        small.train(tmp_path)
    assert (tmp_path / "checkpoints" / "16").is_dir()
    assert not (tmp_path / "broken").exists()


def test_an_unfinished_save_is_no_checkpoint(small, tmp_path) -> None:
    small.train(tmp_path / "whole")
    small.train(tmp_path / "run", steps=16)
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(folder / "16", folder / "24.orbax-checkpoint-tmp")  # what a kill leaves in the midst of a save
    small.train(tmp_path / "run")
    assert records(tmp_path / "run") == records(tmp_path / "whole")
