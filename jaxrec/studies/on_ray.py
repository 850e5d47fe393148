"""Tasks on a Ray cluster."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

from jaxrec.studies.work import work
from jaxrec.studies.workers import Task

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # which writes a stack trace for every SIGTERM
}
CARRIED = ("JAX", "XLA", "LIBTPU", "TPU")
"""Beginnings of the environment variables that tasks get from here."""


class RayTasks:
    """See `jaxrec.studies.workers.Place`: tasks on the cluster of `RAY_ADDRESS`, or on a local one.

    Args:
      count: of tasks at a time; each gets an even share of the cluster's cores and GPUs.
    Raises:
      ValueError: Ray is not installed, or the cluster has fewer GPUs or, without any, cores than tasks.
    """

    def __init__(self, count: int) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise ValueError("--ray needs Ray: pip install 'jaxrec[ray]'") from error
        self._ray = ray
        own = not os.environ.get("RAY_ADDRESS")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # it runs another program at once
            ray.init(include_dashboard=False if own else None, logging_level=logging.WARNING)
        resources = ray.cluster_resources()
        cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        number, kind = (gpus, "GPUs") if gpus else (cores, "cores")
        if count > number:
            self.close()
            raise ValueError(f"workers {count}: the cluster has {number} {kind}; give at most {number}")
        carried = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        # A task that was killed is not begun again by itself: whether it ends so once more, nobody knows.
        self._remote = ray.remote(
            num_cpus=max(cores // count, 1), num_gpus=gpus // count, max_retries=0, runtime_env={"env_vars": carried}
        )(_work)
        self._tasks: dict[Any, Task] = {}

    def start(self, task: Task, slot: int) -> None:
        """See `Place`; Ray itself finds a free machine."""
        self._tasks[self._remote.remote(os.getcwd(), task.name, task.function, task.arguments)] = task

    def ended(self, seconds: float) -> list[tuple[Task, str]]:
        """See `Place`."""
        done, _ = self._ray.wait(list(self._tasks), timeout=seconds)
        ended = []
        for reference in done:
            try:
                error = self._ray.get(reference)
            except self._ray.exceptions.RayError as failed:
                error = str(failed).strip().splitlines()[0]
            ended.append((self._tasks.pop(reference), error))
        return ended

    def close(self) -> None:
        """See `Place`."""
        for reference in getattr(self, "_tasks", {}):
            self._ray.cancel(reference)
        self._ray.shutdown()


def _work(folder: str, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """Does a task on a machine of the cluster, in a folder that relative paths are relative to: the error, or ""."""
    os.chdir(folder)
    return work(name, function, arguments)
