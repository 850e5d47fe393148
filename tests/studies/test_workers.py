"""Runs side by side: what waits for what, what fails alone, what stops when, and that results don't depend on it."""

import dataclasses
import json
import logging
import os
import pathlib
import pickle
import runpy
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest

from jaxrec.baselines.registry import Settings
from jaxrec.cli.failures import failure
from jaxrec.config import Config
from jaxrec.progress import logger
from jaxrec.studies import processes, workers
from jaxrec.studies.baselines import compare_baselines
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.on_ray import share
from jaxrec.studies.processes import visible_gpus
from jaxrec.studies.sweep.axes import read_axes
from jaxrec.studies.sweep.choose import choose_settings
from jaxrec.studies.work import OUT_OF_TIME, Failure, work
from jaxrec.studies.workers import Outcome, Task, Workers, finish, run_tasks
from jaxrec.system.run import command

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def compiled_programs_are_kept(monkeypatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(jax.config.jax_compilation_cache_dir))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


class Pretended:
    """A place where tasks end in the order in which they began, at once."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.at_a_time: list[int] = []
        self.running: list[Task] = []
        self.looked = 0
        self.stopped = False

    def start(self, task: Task, slot: int, seconds: float) -> None:
        self.begun.append(task.name)
        self.running.append(task)
        self.at_a_time.append(len(self.running))

    def ended(self, seconds: float) -> list[Outcome]:
        self.looked += 1
        task = self.running[0]
        if task.shares_vectors and "fails" not in task.name:
            task.config.folder.mkdir(parents=True, exist_ok=True)
            file = task.config.folder / "vectors.npz"
            file.exists() or file.write_text(f"made by {task.name}")
        if self.looked % 2:  # it goes on after that
            return []
        return [(self.running.pop(0), Failure(3, "reasons") if "fails" in task.name else None)]

    def stop(self) -> list[Outcome]:
        self.stopped = True
        return []


@pytest.fixture
def place(monkeypatch) -> Pretended:
    place = Pretended()
    monkeypatch.setattr(workers, "_place", lambda _: place)
    return place


def pretended(config: Config, folder: pathlib.Path, name: str, **changes) -> Task:
    return Task(name, config.replace(out=str(folder / name), **changes), print, ())


def test_a_run_waits_for_the_vectors_that_it_takes(tiny: Config, tmp_path: pathlib.Path, place: Pretended) -> None:
    tasks = [pretended(tiny, tmp_path, name) for name in ("a", "b", "c")]
    tasks.append(pretended(tiny, tmp_path, "other", seed=5))
    finish(tasks, Workers(3))
    assert place.begun == ["a", "other", "b", "c"], "b and c take what a makes"
    assert place.at_a_time[:3] == [1, 2, 3], "b begins when a has made its vectors, not when a has ended"
    assert place.stopped
    made = {name: (tmp_path / name / "vectors.npz").read_text() for name in ("a", "b", "other")}
    assert made == {"a": "made by a", "b": "made by a", "other": "made by other"}


def test_vectors_of_finished_runs_are_taken(tiny: Config, tmp_path: pathlib.Path, place: Pretended) -> None:
    earlier = tiny.replace(out=str(tmp_path / "earlier"))
    earlier.folder.mkdir()
    (earlier.folder / "vectors.npz").write_text("made earlier")
    finish([pretended(tiny, tmp_path, "a")], Workers(2), finished=[earlier])
    assert (tmp_path / "a" / "vectors.npz").read_text() == "made earlier"


def test_what_cannot_be_done_is_told_before_anything_begins(
    tiny: Config, tmp_path: pathlib.Path, place: Pretended
) -> None:
    with pytest.raises(ValueError, match="workers 0: give at least 1"):
        Workers(0)
    with pytest.raises(ValueError, match=r"a and a would share the folder .*; give each seed once"):
        finish([pretended(tiny, tmp_path, "a"), pretended(tiny, tmp_path, "a")], Workers(2))
    finish([], Workers(9999))
    assert place.begun == []


def test_one_that_fails_keeps_no_other(tiny: Config, tmp_path: pathlib.Path, place: Pretended) -> None:
    tasks = [pretended(tiny, tmp_path, name) for name in ("a fails", "b", "c fails")]
    with pytest.raises(
        ValueError, match=r"2 of 3 runs failed: a fails, c fails. a fails \(.*a fails\): reasons. "
    ) as told:
        finish(tasks, Workers(2))
    assert place.begun == ["a fails", "b", "c fails"], "b makes the vectors that a did not"
    assert failure(told.value)[0] == 3


def test_at_the_deadline_nothing_begins_and_where_nobody_reads_on_tasks_are_stopped(
    tiny: Config, tmp_path: pathlib.Path, place: Pretended
) -> None:
    tasks = [pretended(tiny, tmp_path, name, seed=n) for n, name in enumerate("abc")]
    assert list(run_tasks(tasks, Workers(2), deadline=time.monotonic())) == []
    assert place.begun == []
    iterator = run_tasks(tasks, Workers(2))
    assert next(iterator).task.name == "a"
    assert place.begun == ["a", "b"]
    place.stopped = False
    iterator.close()
    assert place.stopped


def scripted(config: Config, folder: pathlib.Path, name: str, script: str) -> Task:
    """A task that runs a script, in which `out` is a file named after the task."""
    file = folder / f"{name}.py"
    file.write_text("import os, pathlib, signal, sys, time\n" + textwrap.dedent(script))
    config = config.replace(out=str(folder / "runs" / name))
    arguments = str(file), {"out": str(folder / name)}
    return Task(name, config, runpy.run_path, arguments, shares_vectors=False)


def test_processes_share_the_cores_and_say_how_they_fail(tiny: Config, tmp_path: pathlib.Path, caplog, capfd) -> None:
    cores = """
        from jaxrec.progress import logger
        logger.info("two words")
        pathlib.Path(out).write_text(" ".join(map(str, os.sched_getaffinity(0))))
    """
    tasks = [scripted(tiny, tmp_path, name, cores) for name in ("a", "b")]
    tasks.append(scripted(tiny, tmp_path, "wrong", "raise ValueError('no such luck')"))
    tasks.append(scripted(tiny, tmp_path, "bug", "1 / 0"))
    tasks.append(scripted(tiny, tmp_path, "killed", "os.kill(os.getpid(), signal.SIGKILL)"))
    count = min(len(os.sched_getaffinity(0)), 2)
    with caplog.at_level("INFO", "jaxrec"):
        ended = {each.task.name: each.failed for each in run_tasks(tasks, Workers(count))}
    told = "ZeroDivisionError: division by zero; this is an error of jaxrec, --debug shows its traceback"
    assert ended == {
        "a": None,
        "b": None,
        "wrong": Failure(2, "no such luck"),
        "bug": Failure(1, told),
        "killed": Failure(1, "ended by SIGKILL, out of memory perhaps"),
    }
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert "[a] two words" in caplog.messages
    mine = [set(map(int, (tmp_path / name).read_text().split())) for name in ("a", "b")]
    assert all(len(each) == len(os.sched_getaffinity(0)) // count for each in mine)


def test_processes_share_the_gpus(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: "cuda12" in name)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    script = "time.sleep(1)\npathlib.Path(out).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    tasks = [scripted(tiny, tmp_path, name, script) for name in ("a", "b")]
    finish(tasks, Workers(2))
    assert {(tmp_path / name).read_text() for name in ("a", "b")} == {"3,7", "5"}
    with pytest.raises(ValueError, match="workers 4: 3 GPUs are to be seen here; give at most 3"):
        finish(tasks, Workers(4))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(ValueError, match=r"workers 9999: .* cores are to be seen here"):
        finish(tasks, Workers(9999))


LASTS = """
try:
    pathlib.Path(out).write_text("begun")
    time.sleep(60)
finally:
    pathlib.Path(out).write_text("put away")
"""


def wait_for(file: pathlib.Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not (file.is_file() and file.read_text() == text):
        assert time.monotonic() < deadline, f"{file} does not get {text!r}"
        time.sleep(0.05)


def test_what_runs_is_told_to_stop(tiny: Config, tmp_path: pathlib.Path, caplog) -> None:
    """Also where a user's function for messages raises."""
    lasts = LASTS.replace("time.sleep", 'print("begun", flush=True)\n    time.sleep') + 'print("more to say\\n" * 200)'
    raising = logging.Handler()
    raising.emit = lambda record: 1 / 0 if "begun" in record.getMessage() else None
    logger.addHandler(raising)
    try:
        with caplog.at_level("INFO", "jaxrec"), pytest.raises(ZeroDivisionError):
            finish([scripted(tiny, tmp_path, "lasts", lasts)], Workers(1))
    finally:
        logger.removeHandler(raising)
    assert (tmp_path / "lasts").read_text() == "put away"


def test_training_stops_when_the_time_is_up(tiny: Config, tmp_path: pathlib.Path) -> None:
    script = "from jaxrec.training.interrupt import OutOfTimeError\nraise OutOfTimeError"
    tasks = [scripted(tiny, tmp_path, "a", script), scripted(tiny, tmp_path, "b", "1 / 0")]
    (ended,) = run_tasks(tasks, Workers(1), deadline=time.monotonic() + 0.2)
    assert ended.failed == OUT_OF_TIME
    assert not (tmp_path / "runs" / "b").exists()


def test_what_runs_stops_where_the_command_is_killed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lasts.py").write_text("import pathlib, time\n" + LASTS)
    program = f"""
import runpy
from jaxrec.config import load_config
from jaxrec.studies.workers import Task, Workers, finish
arguments = {str(tmp_path / "lasts.py")!r}, {{"out": {str(tmp_path / "lasts")!r}}}
finish([Task("lasts", load_config("demo"), runpy.run_path, arguments, False)], Workers(1))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment)
    try:
        wait_for(tmp_path / "lasts", "begun")
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    wait_for(tmp_path / "lasts", "put away")


@pytest.mark.slow
def test_results_are_those_in_turn_and_name_the_command(tiny: Config, tmp_path: pathlib.Path) -> None:
    tables = [
        compare_baselines(["ease"], tiny, [0, 1], tmp_path / name, Settings(), workers=Workers(count))
        for name, count in (("in turn", 1), ("side by side", 2))
    ]
    assert tables[0].rows == tables[1].rows
    results = [
        json.loads((tmp_path / name / "ease-1/test/results.json").read_text()) for name in ("in turn", "side by side")
    ]
    assert results[0]["command"] == results[1]["command"] == command()


@pytest.mark.soak
def test_runs_have_the_results_and_share_the_vectors_of_runs_in_turn(tiny: Config, tmp_path: pathlib.Path) -> None:
    tiny = tiny.replace(train__steps=3)
    study = {"one": tiny, "two": tiny.replace(train__learning_rate=1e-3)}
    tables = [
        compare_configs(study, [0], tmp_path / name, Workers(count))
        for name, count in (("in turn", 1), ("side by side", 2))
    ]
    assert [dataclasses.replace(row, ties=()) for row in tables[0].rows] == [
        dataclasses.replace(row, ties=()) for row in tables[1].rows
    ]
    vectors = [np.load(tmp_path / "side by side" / f"{name}-0" / "vectors.npz")["item"] for name in study]
    np.testing.assert_array_equal(*vectors)


class Here(Pretended):
    """A place where each task is done in this process as soon as it begins, by way of pickle."""

    def start(self, task: Task, slot: int, seconds: float) -> None:
        super().start(task, slot, seconds)
        call = pickle.loads(pickle.dumps((task.name, task.function, task.arguments, seconds)))
        assert work(*call) is None

    def ended(self, seconds: float) -> list[Outcome]:
        return [(self.running.pop(0), None)]


@pytest.mark.slow
def test_baselines_and_a_sweep_side_by_side(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    place = Here()
    monkeypatch.setattr(workers, "_place", lambda _: place)
    table = compare_baselines(["ease", "mf"], tiny, [0], tmp_path / "b", Settings(), workers=Workers(2))
    assert {"EASE", "BPR-MF"} <= {row.system for row in table.rows}
    assert place.begun == ["EASE, seed 0", "BPR-MF, seed 0"]
    tiny = tiny.replace(train__steps=3, train__validate_every=1.0)
    axes = read_axes(["train.learning_rate=1e-3,1e-2"], tiny)
    result = choose_settings(tiny, axes, [0], tmp_path / "s", workers=Workers(2))
    assert [row.diverged for row in result.rows] == [False, False]
    settings = [f"train.learning_rate={rate}, seed 0" for rate in (0.001, 0.01)]
    assert place.begun[2:] == [*settings, f"{result.chosen}, seed 0"]
    with pytest.raises(ValueError, match="leave out trials, or workers and ray"):
        choose_settings(tiny, axes, [0], tmp_path / "t", trials=2, workers=Workers(2))


@pytest.mark.slow
def test_on_a_ray_cluster(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    script = "pathlib.Path('relative').write_text(os.environ['JAX_ENABLE_X64'])"
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    tasks = [scripted(tiny, tmp_path, "a", script), scripted(tiny, tmp_path, "wrong", "raise ValueError('no luck')")]
    tasks.append(scripted(tiny, tmp_path, "killed", "os.kill(os.getpid(), signal.SIGKILL)"))
    ended = {each.task.name: each.failed for each in run_tasks(tasks, Workers(1, ray=True))}
    assert not ended.pop("a")
    assert (tmp_path / "relative").read_text() == "0"
    assert ended.pop("killed")
    assert ended == {"wrong": Failure(2, "no luck")}
    with pytest.raises(ValueError, match=r"workers 9999: the cluster has .*; give at most"):
        finish(tasks, Workers(9999, ray=True))


def test_the_command_itself_takes_hold_of_no_device(tmp_path: pathlib.Path) -> None:
    program = """
import jax, jaxrec
from jax._src import xla_bridge
from jaxrec.studies import baselines, compare
from jaxrec.studies.sweep import choose

def finish(tasks, workers, finished=()):
    raise EOFError(f"{len(tasks)} tasks, devices taken: {xla_bridge.backends_are_initialized()}")

compare.finish = baselines.finish = choose.finish = finish
config = jaxrec.load_config("demo_best")
for call in (
    lambda: jaxrec.compare({"a": config}, workers=2),
    lambda: jaxrec.compare_baselines(config, workers=2),
    lambda: jaxrec.sweep(config, ["train.learning_rate=1e-3,2e-3"], workers=2),
):
    try:
        call()
    except EOFError as told:
        print(told)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert told == [f"{n} tasks, devices taken: False" for n in (1, 1, 2)]


@pytest.mark.parametrize(
    ("amounts", "count", "expected"),
    [([8], 2, 4), ([8, 8], 1, 8), ([4, 4], 3, 2), ([3, 1], 4, 1), ([1], 2, 0), ([], 1, 0)],
)
def test_a_task_fits_into_one_machine_of_a_cluster(amounts: list[int], count: int, expected: int) -> None:
    assert share(amounts, count) == expected
