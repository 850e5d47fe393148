"""One task of a study, wherever it runs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrec.progress import logger, messages_to


class Failure(NamedTuple):
    """How a task failed.

    Attributes:
      code: exit code that a command would end with, see `jaxrec.cli.failures`; 0 where it was stopped.
      text: what it would say.
    """

    code: int
    text: str


OUT_OF_TIME = Failure(0, "the time is up")
BUG, USAGE = 1, 2
"""Exit codes of an error of jaxrec itself, and of settings or arguments."""
FAILED = "\0failed: "
"""Begins the last line of a process that failed; a `Failure` follows as JSON."""


def work(name: str, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Failure | None:
    """Calls function(*arguments), and prints its messages with a name before them.

    Args:
      name: of the task.
      function: what to call.
      arguments: of the function.
      seconds: after which training stops, see `jaxrec.training.interrupt.time_limit`; infinity: no limit.
    Returns:
      `OUT_OF_TIME` if training stopped so, else None.
    """

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more; what is stored must be whole
            print(f"[{name}] {line}", flush=True)

    logger.propagate = False  # else a handler on the root logger, which some libraries add, would show every line twice
    with messages_to(say):
        if seconds == math.inf:
            function(*arguments)
            return None
        from jaxrec.training.interrupt import OutOfTimeError, time_limit  # imports jax, which not every task needs

        try:
            with time_limit(seconds):
                function(*arguments)
        except OutOfTimeError:
            return OUT_OF_TIME
    return None
