"""Trains several runs of a study at a time: in processes of this machine, or as tasks on a Ray cluster."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from jaxrec.config import Config
from jaxrec.progress import clock, logger
from jaxrec.studies.run_folders import Vectors, has_vectors, register_vectors, share_vectors, what_vectors_depend_on
from jaxrec.studies.work import Failure


@dataclasses.dataclass(frozen=True)
class Workers:
    """How many runs are trained at a time, and where.

    Attributes:
      count: at least 1. Processes of this machine share its cores or, where it has any, its GPUs evenly.
      ray: whether runs are tasks on the Ray cluster of `RAY_ADDRESS`, or on a local one. Each is planned with an even
        share of its GPUs or, without any, cores; the study's folder and the data must be at one path on all machines.

    Raises:
      ValueError: count is below 1.
    """

    count: int = 1
    ray: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"workers {self.count}: give at least 1")

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


Outcome = tuple[Task, Failure | None]
"""A task that is over, and how it failed, if it did."""


class Ended(NamedTuple):
    """A task that is over.

    Attributes:
      task: which.
      seconds: that it took.
      failed: how; None = it did not.
    """

    task: Task
    seconds: float
    failed: Failure | None


class Place(Protocol):
    """Where tasks run, each in one of `Workers.count` slots."""

    def start(self, task: Task, slot: int, seconds: float) -> None:
        """Begins a task in a free slot; its training stops after so many seconds."""
        ...

    def ended(self, seconds: float) -> list[Outcome]:
        """The tasks that have ended since; waits at most so long for one."""
        ...

    def stop(self) -> list[Outcome]:
        """Tells what still runs to stop, as SIGTERM would, and returns when it has stored what it has."""
        ...


class RunsFailedError(ValueError):
    """Some runs failed.

    Attributes:
      exit_code: of the first one.
    """

    exit_code: int


POLL = 2.0
"""Seconds between looks at whether a run has made its vectors."""


def run_tasks(
    tasks: Sequence[Task], workers: Workers, deadline: float = math.inf, finished: Iterable[Config] = ()
) -> Iterator[Ended]:
    """Runs tasks, as many at a time as there are workers, and yields each when it has ended.

    One that fails does not keep the others. Where the iterator is closed, or an exception or a signal comes, tasks that
    run are told to stop: the same call resumes them.

    Args:
      tasks: in the order in which they begin, except that one waits for another that makes the vectors it takes.
      workers: how many at a time, and where.
      deadline: by `time.monotonic`, at which no task begins any more and the training of those that run stops
        (`Ended.failed` is `OUT_OF_TIME`).
      finished: configs of runs whose vectors are taken, too.
    Raises:
      ValueError: two tasks have the same folder, or this machine or the cluster has too few devices for so many
        workers.
    """
    if not tasks:
        return
    _check_folders(tasks)
    vectors: Vectors = {}
    for config in finished:
        register_vectors(config, vectors)
    waiting, free = list(tasks), list(range(workers.count))
    running: dict[Task, tuple[int, float]] = {}
    place = _place(workers)

    def next_task() -> Task | None:
        for task in running:
            if task.shares_vectors:
                register_vectors(task.config, vectors)
        being_made = {what_vectors_depend_on(task.config) for task in running if task.shares_vectors}
        for task in waiting:
            key = what_vectors_depend_on(task.config)
            if not task.shares_vectors or key in vectors or key not in being_made or has_vectors(task.config):
                return task
        return None

    try:
        while waiting or running:
            while free and time.monotonic() < deadline and (task := next_task()) is not None:
                waiting.remove(task)
                if task.shares_vectors:
                    share_vectors(task.config, vectors)
                running[task] = free.pop(), time.monotonic()
                logger.info("%s begins (%d of %d)", task.name, len(tasks) - len(waiting), len(tasks))
                place.start(task, running[task][0], deadline - time.monotonic())
            if not running:
                return
            for task, failed in place.ended(POLL):
                slot, started = running.pop(task)
                free.append(slot)
                seconds = time.monotonic() - started
                how = f"failed: {failed.text}" if failed and failed.code else "stopped" if failed else "ended"
                logger.info("%s %s after %s", task.name, how, clock(seconds))
                if task.shares_vectors:
                    register_vectors(task.config, vectors)
                yield Ended(task, seconds, failed)
    finally:
        place.stop()


def finish(tasks: Sequence[Task], workers: Workers, finished: Iterable[Config] = ()) -> None:
    """Runs tasks to their end, see `run_tasks`.

    Raises:
      RunsFailedError: some failed; the others have ended.
      ValueError: see `run_tasks`.
    """
    check_none_failed(list(run_tasks(tasks, workers, finished=finished)))


def check_none_failed(ended: Sequence[Ended]) -> None:
    """Checks that no task failed.

    Raises:
      RunsFailedError: some did.
    """
    failures = [(task, failed) for task, _, failed in ended if failed and failed.code]
    if not failures:
        return
    names = ", ".join(task.name for task, _ in failures)
    (task, failed), *_ = failures
    error = RunsFailedError(
        f"{len(failures)} of {len(ended)} runs failed: {names}. {task.name} ({task.config.folder}): {failed.text}. "
        "What the others reached is kept; the same command goes on"
    )
    error.exit_code = failed.code
    raise error


def _check_folders(tasks: Sequence[Task]) -> None:
    names: dict[pathlib.Path, str] = {}
    for task in tasks:
        folder = task.config.folder.absolute()
        if (other := names.get(folder)) is not None:
            raise ValueError(
                f"{other} and {task.name} would share the folder {task.config.folder}; give each seed once, and rows "
                "names that differ in letters or digits"
            )
        names[folder] = task.name


def _place(workers: Workers) -> Place:
    if workers.ray:
        from jaxrec.studies.on_ray import RayTasks  # Ray is optional

        return RayTasks(workers.count)
    from jaxrec.studies.processes import Processes

    return Processes(workers.count)
