"""One line that says how far training is."""

from __future__ import annotations

import sys
import time
from typing import TextIO


def short(value: float) -> str:
    """A rate for people: 812, 34.1k, 2.50M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{2 if value < 10 * size else 1}f}{letter}"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def clock(seconds: float) -> str:
    """A duration for people: 0:42, 12:05, 3:10:00."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


class Progress:
    """Writes to `stream` (standard error): in place on a terminal, else a line at growing intervals, 2 s to 60 s."""

    FIRST, GROWTH, LAST = 2.0, 1.5, 60.0

    def __init__(self, name: str, steps: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._name, self._steps = name, steps
        self._began: tuple[float, int] | None = None  # the first step's end: compilation is not in the ETA
        self._interval = 0.2 if self._terminal else self.FIRST
        self._next = 0.0
        self._line = ""
        self._shown = True

    def update(self, step: int, loss: float, rates: dict[str, float]) -> None:
        """Takes note of a step; writes when it is time to. `rates` are per second."""
        now = time.monotonic()
        began, first = self._began = self._began or (now, step)
        parts = [f"{self._name} {step}/{self._steps} ({step / self._steps:.0%})", f"loss {loss:.4f}"]
        if step > first:
            parts += [f"{short(rate)} {what}/s" for what, rate in rates.items()]
            parts += [f"ETA {clock((now - began) / (step - first) * (self._steps - step))}"]
        self._line, self._shown = "  ".join(parts), False
        if now >= self._next:
            self._show()
            if not self._terminal:
                self._interval = min(self._interval * self.GROWTH, self.LAST)
            self._next = now + self._interval

    def say(self, text: str) -> None:
        """A line of its own, above the progress line."""
        self._stream.write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leaves the newest state behind as a whole line."""
        if not self._shown:
            self._show()
        if self._terminal and self._line:
            self._stream.write("\n")
            self._stream.flush()

    def _show(self) -> None:
        self._stream.write(f"\r\x1b[K{self._line}" if self._terminal else f"{self._line}\n")
        self._stream.flush()
        self._shown = True
