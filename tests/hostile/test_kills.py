"""Processes killed (SIGKILL) at random moments, then started again: all ends as if nothing had happened."""

import pathlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from jaxrec.config import Config, to_json
from jaxrec.files import check_sums
from jaxrec.inference import newcomers
from jaxrec.system import loading
from jaxrec.system.system import System
from tests.hostile.conftest import assert_same_results

EVENTS = "user,item\nannA,itemA\nannA,item03\nbobB,itemB\nuser00,itemA\nuser01,itemB\n"


class Killer:
    """Starts a task again and again, and kills it after random times, up to how long it takes when it is left alone."""

    def __init__(self, start: Callable, ready: Callable, seed: int) -> None:
        self._start, self._ready, self._draw = start, ready, random.Random(seed)
        print("seed", seed)

    def whole(self, *arguments: object) -> float:
        """Runs the task to its end; returns its seconds."""
        process = self._start(*arguments)
        self._ready(process)
        began = time.monotonic()
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        return time.monotonic() - began

    def killed(self, seconds: float, *arguments: object) -> bool:
        """Whether the task was killed before its end."""
        process: subprocess.Popen = self._start(*arguments)
        self._ready(process)
        time.sleep(self._draw.uniform(0, seconds))
        process.kill()
        output, errors = process.communicate()
        assert "error" not in errors, errors
        return "done" not in output


def store_of(folder: pathlib.Path) -> list:
    """All that the store holds, by name."""
    system = newcomers.served(loading.load(folder))
    rows = []
    for names, vectors, ids in (
        (system.data.user_names, system.embedding.vectors.user, system.ids.users),
        (system.data.item_names, system.embedding.vectors.item, system.ids.items),
    ):
        rows.append({str(n): (v.tobytes(), c.tobytes()) for n, v, c in zip(names, vectors, ids.codes.values)})
    histories = [system.data.item_names[system.histories.of(user)].tolist() for user in range(system.data.n_users)]
    return [*rows, dict(zip(system.data.user_names.tolist(), histories))]


def kill_updates(killer: Killer, folder: pathlib.Path, kills: int) -> None:
    original = folder.with_name("original")
    shutil.copytree(folder, original)
    file = folder.with_name("new.csv")
    file.write_text(EVENTS)
    pathlib.Path(f"{file}.go").touch()
    seconds = killer.whole("update", folder, file)
    expected = store_of(folder)
    for _ in range(kills):
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
        killer.killed(seconds, "update", folder, file)
        store_of(folder)  # opens
        killer.whole("update", folder, file)
        assert store_of(folder) == expected


def kill_exports(killer: Killer, folder: pathlib.Path, kills: int) -> None:
    out, expected = folder.with_name("export"), folder.with_name("expected")
    seconds = killer.whole("export", folder, expected)
    for _ in range(kills):
        shutil.rmtree(out, ignore_errors=True)
        if killer.killed(seconds, "export", folder, out) and not out.is_dir():
            killer.whole("export", folder, out)
        names = [sorted(path.relative_to(f).as_posix() for path in f.rglob("*")) for f in (out, expected)]
        assert names[0] == names[1]
        for name in names[0]:
            assert (out / name).is_dir() or (out / name).read_bytes() == (expected / name).read_bytes(), name


def kill_trainings(killer: Killer, expected: System, config: Config, folder: pathlib.Path, kills: int) -> None:
    folder.with_name(folder.name + ".json").write_text(to_json(config.replace(out=str(folder))))
    seconds = killer.whole("train", folder)
    for done in range(kills):
        if not killer.killed(seconds, "train", folder) or done == kills - 1:
            killer.whole("train", folder)
            check_sums(folder)
            assert_same_results(folder, expected)
            shutil.rmtree(folder)


@pytest.mark.soak
def test_killed_updates(finished_run: Callable, tmp_path: pathlib.Path, start: Callable, ready: Callable) -> None:
    finished_run("META ID", tmp_path / "run")
    kill_updates(Killer(start, ready, 7), tmp_path / "run", kills=15)


@pytest.mark.soak
def test_killed_exports(finished_run: Callable, tmp_path: pathlib.Path, start: Callable, ready: Callable) -> None:
    finished_run("META ID", tmp_path / "run")
    kill_exports(Killer(start, ready, 1), tmp_path / "run", kills=15)


@pytest.mark.soak
def test_killed_trainings(
    finished_run: Callable, tiny: Config, tmp_path: pathlib.Path, start: Callable, ready: Callable
) -> None:
    expected = finished_run("META ID", tmp_path / "expected")
    kill_trainings(Killer(start, ready, 3), expected, tiny, tmp_path / "run", kills=20)
