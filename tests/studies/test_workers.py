"""Runs side by side: what waits for what, what fails alone, what stops when, and that results don't depend on it."""

import dataclasses
import os
import pathlib
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
from jaxrec.config import Config
from jaxrec.studies import workers
from jaxrec.studies.baselines import compare_baselines
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.sweep.axes import read_axes
from jaxrec.studies.sweep.choose import choose_settings
from jaxrec.studies.workers import Task, Workers, finish, run_tasks

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
        self.closed = False

    def start(self, task: Task, slot: int) -> None:
        self.begun.append(task.name)
        self.running.append(task)
        self.at_a_time.append(len(self.running))

    def ended(self, seconds: float) -> list[tuple[Task, str]]:
        if not seconds:
            return []
        task = self.running.pop(0)
        if task.shares_vectors and "fails" not in task.name:
            task.config.folder.mkdir(parents=True, exist_ok=True)
            (task.config.folder / "vectors.npz").write_text(f"made by {task.name}")
        return [(task, "reasons" if "fails" in task.name else "")]

    def close(self) -> None:
        self.closed = True


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
    assert max(place.at_a_time) == 3
    assert place.closed
    made = {name: (tmp_path / name / "vectors.npz").read_text() for name in ("a", "other")}
    assert made == {"a": "made by a", "other": "made by other"}


def test_one_that_fails_keeps_no_other(tiny: Config, tmp_path: pathlib.Path, place: Pretended) -> None:
    tasks = [pretended(tiny, tmp_path, name) for name in ("a fails", "b", "c fails")]
    with pytest.raises(ValueError, match=r"2 of 3 runs failed: a fails, c fails. a fails \(.*a fails\): reasons. "):
        finish(tasks, Workers(2))
    assert place.begun == ["a fails", "b", "c fails"], "b makes the vectors that a did not"


def test_at_the_deadline_and_where_nobody_reads_on_tasks_are_stopped(
    tiny: Config, tmp_path: pathlib.Path, place: Pretended
) -> None:
    tasks = [pretended(tiny, tmp_path, name, seed=n) for n, name in enumerate("abc")]
    assert list(run_tasks(tasks, Workers(2), deadline=time.monotonic())) == []
    assert place.closed
    assert place.begun == ["a", "b"]
    place.closed, place.running = False, []
    iterator = run_tasks(tasks, Workers(2))
    assert next(iterator).task.name == "a"
    iterator.close()
    assert place.closed


def scripted(config: Config, folder: pathlib.Path, name: str, script: str) -> Task:
    """A task that runs a script, in which `out` is a file named after the task."""
    file = folder / f"{name}.py"
    file.write_text("import os, pathlib, signal, sys, time\n" + textwrap.dedent(script))
    config = config.replace(out=str(folder / "runs" / name))
    arguments = str(file), {"out": str(folder / name)}
    return Task(name, config, runpy.run_path, arguments, shares_vectors=False)


def test_processes_share_the_cores_and_say_how_they_fail(tiny: Config, tmp_path: pathlib.Path, caplog) -> None:
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
        ended = {each.task.name: each.error for each in run_tasks(tasks, Workers(count))}
    assert ended == {
        "a": "",
        "b": "",
        "wrong": "no such luck",
        "bug": "ZeroDivisionError: division by zero",
        "killed": "ended by SIGKILL, out of memory perhaps",
    }
    assert "[a] two words" in caplog.messages
    mine = [set(map(int, (tmp_path / name).read_text().split())) for name in ("a", "b")]
    assert all(len(each) == len(os.sched_getaffinity(0)) // count for each in mine)


def test_processes_share_the_gpus(tiny: Config, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    script = "time.sleep(1)\npathlib.Path(out).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    tasks = [scripted(tiny, tmp_path, name, script) for name in ("a", "b")]
    finish(tasks, Workers(2))
    assert {(tmp_path / name).read_text() for name in ("a", "b")} == {"3,7", "5"}
    with pytest.raises(ValueError, match="workers 4: 3 GPUs are to be seen here; give at most 3"):
        finish(tasks, Workers(4))
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


def test_what_runs_is_told_to_stop(tiny: Config, tmp_path: pathlib.Path) -> None:
    tasks = [scripted(tiny, tmp_path, "lasts", LASTS)]
    started = time.monotonic()
    assert list(run_tasks(tasks, Workers(1), deadline=started + 5)) == []
    assert (tmp_path / "lasts").read_text() == "put away"
    assert time.monotonic() - started < 40


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
def test_results_are_those_of_runs_in_turn(tiny: Config, tmp_path: pathlib.Path) -> None:
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


@pytest.mark.slow
def test_baselines_and_a_sweep_side_by_side(tiny: Config, tmp_path: pathlib.Path) -> None:
    table = compare_baselines(["ease", "mf"], tiny, [0], tmp_path / "b", Settings(), workers=Workers(2))
    assert {"EASE", "BPR-MF"} <= {row.system for row in table.rows}
    tiny = tiny.replace(train__steps=3, train__validate_every=1.0)
    axes = read_axes(["train.learning_rate=1e-3,1e-2"], tiny)
    result = choose_settings(tiny, axes, [0], tmp_path / "s", workers=Workers(2))
    assert [row.diverged for row in result.rows] == [False, False]
    with pytest.raises(ValueError, match="leave out trials or workers"):
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
    ended = {each.task.name: each.error for each in run_tasks(tasks, Workers(1, ray=True))}
    assert not ended.pop("a")
    assert (tmp_path / "relative").read_text() == "0"
    assert ended.pop("killed")
    assert ended == {"wrong": "no luck"}
    with pytest.raises(ValueError, match=r"workers 9999: the cluster has .*; give at most"):
        finish(tasks, Workers(9999, ray=True))


def test_the_command_itself_takes_hold_of_no_device(tmp_path: pathlib.Path) -> None:
    program = """
import jax, jaxrec
from jax._src import xla_bridge
from jaxrec.studies import baselines, compare
from jaxrec.studies.sweep import choose

def finish(tasks, workers):
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
