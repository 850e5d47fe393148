"""Graceful stop of training at the end of a step: after SIGINT or SIGTERM, or when its time is up."""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils

PATIENCE = 5.0
"""Seconds that a validation may still take after a signal."""

_deadline = contextvars.ContextVar("_deadline", default=float("inf"))
"""The time of `time.monotonic` at which training stops."""


class OutOfTimeError(Exception):
    """Training has stopped at the end of its time, and is saved where it has a folder."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Inside the block, `fit` saves its state and raises OutOfTimeError at the end of the step in which time is up.

    Only steps of training look at the clock; anything else goes on to its end. For programs of a single process.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class Interrupt:
    """Inside the context, the first SIGINT or SIGTERM is recorded; a second one ends the process at once.

    With several processes, SIGTERM is handled by jax's preemption service, through which all agree on the step after
    which to stop; SIGINT keeps its default behaviour.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._alone = jax.process_count() == 1
        self._before: dict[int, object] = {}
        self._in_long_part = False
        self.signal: int | None = None

    def __enter__(self) -> Interrupt:
        # Python delivers signals to the main thread only; in another thread they are left unchanged.
        if self._alone and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self.signal is not None and kind is None:  # it came after the last step
            raise SystemExit(128 + self.signal)

    def _note(self, number: int, frame: FrameType | None) -> None:
        for handled in (signal.SIGINT, signal.SIGTERM):
            signal.signal(handled, signal.SIG_DFL)  # a second one needs no Python to end the process
        self.signal = number
        if self._in_long_part:
            self._limit()
        text = f"\n{self._name}: {signal.Signals(number).name}: finishing this step and saving; once more to stop now\n"
        os.write(2, text.encode())  # writing to stderr or logging may be what was interrupted

    @contextlib.contextmanager
    def long_part(self) -> Iterator[None]:
        """Inside the block, which may take minutes, a signal ends the process after `PATIENCE` seconds.

        The state before a validation can't be saved without its result, so the run then resumes from its last
        checkpoint.
        """
        self._in_long_part = True
        if self.signal is not None:
            self._limit()
        try:
            yield
        finally:
            self._in_long_part = False
            if self.signal is not None and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _limit(self) -> None:
        if self._before and hasattr(signal, "setitimer"):
            self._before.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, self._end))
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _end(self, number: int, frame: FrameType | None) -> None:
        text = f"\n{self._name}: stopped while validating; the same command goes on from the last checkpoint\n"
        os.write(2, text.encode())
        raise SystemExit(128 + (self.signal or number))

    def reason(self, step: int) -> BaseException | None:
        """What to raise after `step`, once the state is saved; None to go on. Equal in every process."""
        if not self._alone and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        if self.signal is not None:
            return SystemExit(128 + self.signal)
        if self._alone and time.monotonic() > _deadline.get():
            return OutOfTimeError(f"{self._name}: time is up after step {step}")
        return None
