"""Processes that write at the same time: both are there afterwards, or the second is told who the first is."""

import json
import pathlib
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import jaxrec
from jaxrec import experiment
from jaxrec.config import Config, to_json
from jaxrec.files import InUseError, locked_folder
from jaxrec.inference import newcomers
from jaxrec.system.system import System


def histories(system: System) -> dict[str, list[str]]:
    """By user's name, the names of their items."""
    served = newcomers.served(system)
    data = served.data
    return {
        str(name): [str(data.item_names[item]) for item in served.histories.of(user)]
        for user, name in enumerate(data.user_names)
    }


@pytest.mark.slow
def test_two_updates_at_once_lose_nothing(
    finished_run: Callable[[str, pathlib.Path], System], tmp_path: pathlib.Path, start: Callable, ready: Callable
) -> None:
    system = finished_run("META ID", tmp_path / "run")
    before = histories(system)
    files = {
        "a": "user,item\nannA,itemA\nannA,itemA2\nuser00,itemA\n",
        "b": "user,item\nbobB,itemB\nuser00,itemB\n",
    }
    processes: list[subprocess.Popen] = []
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content)
        processes.append(start("update", tmp_path / "run", tmp_path / f"{name}.csv"))
    for process in processes:
        ready(process)
    for name in files:
        (tmp_path / f"{name}.csv.go").touch()
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    after = histories(system)
    assert after.pop("annA") == ["itemA", "itemA2"]
    assert after.pop("bobB") == ["itemB"]
    assert after["user00"][:-2] == before["user00"]
    assert sorted(after["user00"][-2:]) == ["itemA", "itemB"]
    assert {**after, "user00": 0} == {**before, "user00": 0}


def test_an_update_builds_on_what_another_process_wrote(
    finished_run: Callable[[str, pathlib.Path], System], tmp_path: pathlib.Path
) -> None:
    """The first to have read is the last to write."""
    system = finished_run("META ID", tmp_path / "run")
    early, late = jaxrec.load(tmp_path / "run"), jaxrec.load(tmp_path / "run")
    assert isinstance(early, jaxrec.TrainedRun)
    assert isinstance(late, jaxrec.TrainedRun)
    user = early.examples(1)[0]
    early.recommend(user, 3)
    (tmp_path / "a.csv").write_text(f"user,item\nannA,itemA\n{user},itemA\n")
    (tmp_path / "b.csv").write_text(f"user,item\nbobB,itemB\n{user},itemB\n")
    late.update(tmp_path / "a.csv")
    early.update(tmp_path / "b.csv")
    after = histories(system)
    assert (after["annA"], after["bobB"], after[user][-2:]) == (["itemA"], ["itemB"], ["itemA", "itemB"])
    assert len(early.recommend("annA", 3)) == 3


def test_a_run_that_is_being_trained_is_left_alone(tiny: Config, tmp_path: pathlib.Path) -> None:
    config = tiny.replace(out=str(tmp_path / "run"))
    told = pytest.raises(InUseError, match=r"run is being written by process \d+ on .* since \d{4}-")
    with locked_folder(tmp_path / "run"), ThreadPoolExecutor(1) as other, told:
        other.submit(experiment.train, config).result()
    assert not (tmp_path / "run").exists(), "nothing was written"


@pytest.mark.soak
def test_the_second_training_is_told_who_trains(
    tiny: Config, tmp_path: pathlib.Path, start: Callable, ready: Callable
) -> None:
    (tmp_path / "run.json").write_text(to_json(tiny.replace(out=str(tmp_path / "run"))))
    first, second = start("train", tmp_path / "run"), start("train", tmp_path / "run")
    ready(first)
    ready(second)
    ended = [process for process in (first, second) if process.wait(300) is not None and process.returncode]
    (told,) = ended
    other = second if told is first else first
    errors = told.communicate()[1]
    assert f"{tmp_path / 'run'} is being written by process {other.pid} on " in errors
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
