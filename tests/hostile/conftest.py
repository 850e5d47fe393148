"""Starts worker.py as a process."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

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
