"""Graceful stop of training at the end of a step after SIGINT or SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class Interrupt:
    """Inside the context, the first SIGINT or SIGTERM is recorded; a second one ends the process at once.

    With several processes, SIGTERM is handled by jax's preemption service, through which all agree on the step after
    which to stop; SIGINT keeps its default behaviour.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._alone = jax.process_count() == 1
        self._before: dict[int, object] = {}
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
        for handled in self._before:
            signal.signal(handled, signal.SIG_DFL)  # a second one needs no Python to end the process
        self.signal = number
        text = f"\n{self._name}: {signal.Signals(number).name}: finishing this step and saving; once more to stop now\n"
        os.write(2, text.encode())  # writing to stderr or logging may be what was interrupted

    def stop_signal(self, step: int) -> int | None:
        """The received signal to stop after `step`, or None; equal in every process."""
        if not self._alone and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal
