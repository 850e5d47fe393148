"""SIGINT and SIGTERM as a wish that training grants at the end of a step."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is only noted; a second one ends the process at once.

    Among several processes SIGTERM is left to jax's preemption service, through which all of them agree on the
    step after which to stop; SIGINT does what it always does.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._alone = jax.process_count() == 1
        self._before: dict[int, object] = {}
        self.signal: int | None = None

    def __enter__(self) -> Interrupt:
        # Python hands signals to the main thread alone; a fit in another thread leaves them as they are.
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

    def wanted(self, step: int) -> int | None:
        """The signal that asks to stop after `step`, or None; the same answer in every process."""
        if not self._alone and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal
