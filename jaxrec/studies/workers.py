"""Trains several runs of a study at a time: in processes of this machine, or as tasks on a Ray cluster."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from jaxrec.config import Config
from jaxrec.progress import clock, logger
from jaxrec.studies.run_folders import Vectors, share_vectors, what_vectors_depend_on


@dataclasses.dataclass(frozen=True)
class Workers:
    """How many runs are trained at a time, and where.

    Attributes:
      count: at least 1. Processes of this machine share its cores or, where it has any, its GPUs evenly.
      ray: whether runs are tasks on the Ray cluster of `RAY_ADDRESS`, or on a local one. They share its cores and GPUs
        evenly; the study's folder and the data must be at one path on all its machines.
    """

    count: int = 1
    ray: bool = False

    @property
    def apart(self) -> bool:
        """Whether runs are trained outside this process."""
        return self.count > 1 or self.ray


IN_TURN = Workers()
"""One run after the other, in this process."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Work on one run's folder.

    Attributes:
      name: of the run in messages.
      config: of the run.
      function: called as function(*arguments) in another process, so both must pickle; results stay in the folder.
      arguments: see `function`.
      shares_vectors: whether the run takes the vectors of another task with equal ones, which then goes first.
    """

    name: str
    config: Config
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    shares_vectors: bool = True


class Ended(NamedTuple):
    """A task that is over.

    Attributes:
      task: which.
      seconds: that it took.
      error: why it failed; "" = it did not.
    """

    task: Task
    seconds: float
    error: str


class Place(Protocol):
    """Where tasks run, each in one of `Workers.count` slots."""

    def start(self, task: Task, slot: int) -> None:
        """Begins a task in a free slot."""
        ...

    def ended(self, seconds: float) -> list[tuple[Task, str]]:
        """The tasks that have ended since, with their errors; waits at most so long for one."""
        ...

    def close(self) -> None:
        """Stops what still runs, as SIGTERM would, and returns when it has stored what it has."""
        ...


def run_tasks(tasks: Sequence[Task], workers: Workers, deadline: float = math.inf) -> Iterator[Ended]:
    """Runs tasks, as many at a time as there are workers, and yields each when it has ended.

    One that fails does not keep the others. Where the iterator is closed, or an exception or a signal comes, tasks that
    run are told to stop: the same call resumes them.

    Args:
      tasks: in the order in which they begin, except that one waits for another that makes the vectors it takes.
      workers: how many at a time, and where.
      deadline: by `time.monotonic`, at which what runs is told to stop.
    Raises:
      ValueError: this machine or the cluster has too few devices for so many workers.
    """
    waiting, vectors, free = list(tasks), Vectors(), list(range(workers.count))
    running: dict[Task, tuple[int, float, Callable[[], None]]] = {}
    place = _place(workers)

    def next_task() -> Task | None:
        being_made = {what_vectors_depend_on(task.config) for task in running if task.shares_vectors}
        for task in waiting:
            key = what_vectors_depend_on(task.config)
            if not task.shares_vectors or key in vectors or key not in being_made:
                return task
        return None

    try:
        while waiting or running:
            while free and (task := next_task()) is not None:
                waiting.remove(task)
                register = share_vectors(task.config, vectors) if task.shares_vectors else _nothing
                running[task] = free.pop(), time.monotonic(), register
                logger.info("%s begins (%d of %d)", task.name, len(tasks) - len(waiting), len(tasks))
                place.start(task, running[task][0])
            for task, error in place.ended(max(min(deadline - time.monotonic(), 3600.0), 0.0)):
                slot, started, register = running.pop(task)
                free.append(slot)
                register()
                seconds = time.monotonic() - started
                logger.info("%s %s after %s", task.name, f"failed: {error}" if error else "ended", clock(seconds))
                yield Ended(task, seconds, error)
            if time.monotonic() >= deadline:
                return
    finally:
        place.close()


def finish(tasks: Sequence[Task], workers: Workers) -> None:
    """Runs tasks to their end, see `run_tasks`.

    Raises:
      ValueError: some failed; the others have ended. Or see `run_tasks`.
    """
    check_none_failed([ended for ended in run_tasks(tasks, workers) if ended.error], len(tasks))


def check_none_failed(failed: Sequence[Ended], count: int) -> None:
    """Checks that none of so many tasks failed.

    Raises:
      ValueError: some did.
    """
    if not failed:
        return
    names = ", ".join(ended.task.name for ended in failed)
    (task, _, error), *_ = failed
    raise ValueError(
        f"{len(failed)} of {count} runs failed: {names}. {task.name} ({task.config.folder}): {error}. "
        "The others are finished; the same command goes on where these ended"
    )


def _place(workers: Workers) -> Place:
    if workers.count < 1:
        raise ValueError(f"workers {workers.count}: give at least 1")
    if workers.ray:
        from jaxrec.studies.on_ray import RayTasks  # Ray is optional

        return RayTasks(workers.count)
    from jaxrec.studies.processes import Processes

    return Processes(workers.count)


def _nothing() -> None:
    pass
