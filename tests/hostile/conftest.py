"""Starts worker.py as a process, and compares the run that it leaves with another."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from jaxrec.system import loading
from jaxrec.system.system import System

WORKER = pathlib.Path(__file__).parent / "worker.py"
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a worker with these arguments; all are killed at the end of the test."""
    started: list[subprocess.Popen] = []

    def begin(*arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(WORKER.parents[2])},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ready() -> Callable[[subprocess.Popen], None]:
    """Waits until a worker begins."""

    def wait(process: subprocess.Popen) -> None:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError(process.communicate()[1])

    return wait


def assert_same_results(folder: pathlib.Path, expected: System) -> None:
    """A run's folder holds the expected figures, but for their seconds, and gives the expected lists."""
    rows = [json.loads((path / "results.json").read_text())["rows"] for path in (folder, expected.folder)]
    for row in (*rows[0], *rows[1]):
        row.pop("seconds", None)
    assert rows[0] == rows[1]
    lists = [system.recommend(np.arange(5), 5) for system in (loading.load(folder), expected)]
    np.testing.assert_array_equal(lists[0].items, lists[1].items)
    np.testing.assert_array_equal(lists[0].scores, lists[1].scores)
