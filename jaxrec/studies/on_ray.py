"""Tasks on a Ray cluster."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from jaxrec.ray_cluster import connect, import_ray
from jaxrec.studies.work import BUG, USAGE, Failure, work
from jaxrec.studies.workers import Outcome, Task
from jaxrec.system.run import COMMAND, command
from jaxrec.text import printable

CARRIED = ("JAX", "XLA", "LIBTPU", "TPU")
"""Beginnings of the environment variables that tasks get from here."""
STOPPING = 60.0
"""Seconds that tasks have to store what they have when they are told to stop."""


class RayTasks:
    """See `jaxrec.studies.workers.Place`: tasks on the cluster of `RAY_ADDRESS`, or on a local one.

    Args:
      count: of tasks at a time; each gets an even share of the cluster's cores and GPUs.
    Raises:
      ValueError: Ray is not installed, or the cluster has fewer GPUs or, without any, cores than tasks.
    """

    def __init__(self, count: int) -> None:
        self._ray = ray = import_ray()
        self._own = not ray.is_initialized()
        if self._own:
            connect(ray)
        self._tasks: dict[Any, Task] = {}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores, gpus = ([int(node.get(kind, 0)) for node in nodes] for kind in ("CPU", "GPU"))
        number, kind = (sum(gpus), "GPUs") if any(gpus) else (sum(cores), "cores")
        if count > number:
            self.stop()
            raise ValueError(f"workers {count}: the cluster has {number} {kind}; give at most {number}")
        carried = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        self._remote = ray.remote(
            num_cpus=1 if any(gpus) else share(cores, count),
            num_gpus=share(gpus, count),
            max_retries=0,  # whether a task that was killed ends so once more, nobody knows
            runtime_env={"env_vars": {**carried, COMMAND: command()}},
        )(_work)

    def start(self, task: Task, slot: int, seconds: float) -> None:
        """See `Place`; Ray itself finds a free machine."""
        call = os.getcwd(), task.name, task.function, task.arguments, seconds
        self._tasks[self._remote.remote(*call)] = task

    def ended(self, seconds: float) -> list[Outcome]:
        """See `Place`."""
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        outcomes: list[Outcome] = []
        for reference in done:
            try:
                failed = self._ray.get(reference)
            except Exception as error:  # of Ray, where a worker was killed or a machine is lost
                failed = Failure(BUG, str(error).strip().splitlines()[0])
            outcomes.append((self._tasks.pop(reference), failed))
        return outcomes

    def stop(self) -> list[Outcome]:
        """See `Place`."""
        for reference in self._tasks:
            self._ray.cancel(reference)
        outcomes = []
        while self._tasks and (ended := self.ended(STOPPING)):
            outcomes += ended
        if self._own:
            self._ray.shutdown()
        return outcomes


def share(amounts: Sequence[int], count: int) -> int:
    """The largest even share of some machines' devices, of which one machine gives each of `count` tasks as many.

    Args:
      amounts: of devices of each machine.
      count: of tasks.
    Returns:
      0 where there are fewer devices than tasks.
    """
    shares = range(1, max(amounts, default=0) + 1)
    return max((each for each in shares if sum(amount // each for amount in amounts) >= count), default=0)


def _work(
    folder: str, name: str, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float
) -> Failure | None:
    """Does a task on a machine of the cluster, in a folder that relative paths are relative to: how it failed."""
    os.chdir(folder)
    try:
        return work(name, function, arguments, seconds)
    except Exception as error:
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", []))
        known = isinstance(error, ValueError | OSError | FloatingPointError)
        if not known:
            traceback.print_exception(error)
        text = f"{'' if known else f'{type(error).__name__}: '}{' '.join(str(error).split())}{notes}"
        return Failure(USAGE if known else BUG, printable(text))
