"""Messages and progress lines, both through Python's logging.

Nothing is shown by default. `logging.basicConfig(level=logging.INFO)` or a handler of one's own on the logger "jaxrec"
shows everything, `messages_to(function)` passes each line to a function, and the command line calls `log_to_stderr`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger("jaxrec")
"""The logger that the whole library uses."""
logger.addHandler(logging.NullHandler())  # without any handler, Python would print warnings to stderr


@dataclasses.dataclass(frozen=True)
class ProgressState:
    """State of a `Progress`, in the attribute `progress` of its log records.

    Attributes:
      name: of the work.
      done, total: amount of work done and in all; `total` is None where it is not known.
      seconds_left: estimated; None before there is an estimate.
      finished: whether this is the last record of this work.
    """

    name: str
    done: float
    total: float | None
    seconds_left: float | None
    finished: bool


class Progress:
    """A progress line: `NAME 40/100 UNIT (40%)  NOTES  812 UNIT/s  ETA 0:42`.

    Lines are logged at level INFO at growing intervals, 2 s to 60 s apart; in between, for displays that redraw one
    line, at level DEBUG at most five times a second. Each record has a `ProgressState` as attribute `progress`.
    """

    FIRST, GROWTH, LAST = 2.0, 1.5, 60.0
    """Seconds between the first two lines of level INFO, growth factor of that interval, and its maximum in seconds."""
    REFRESH = 0.2
    """Seconds between records of level DEBUG."""

    def __init__(self, name: str, total: float | None, *, unit: str = "", quiet: float = 0.0) -> None:
        """Starts the clock.

        Args:
          name: of the work.
          total: amount of work, or None where it is not known; floats are shown with one decimal.
          unit: of the amounts and of the rate, "" for none.
          quiet: seconds before the first line, so that short work logs nothing.
        """
        self._name, self._total, self._unit = name, total, unit
        # Time and amount of the first update; rates exclude the setup before it.
        self._first: tuple[float, float] | None = None
        self._interval = self.FIRST
        self._next_line = self._next_refresh = time.monotonic() + quiet if quiet else 0.0
        self._newest: tuple[str, ProgressState] | None = None
        self._shown, self._logged = False, True

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, done: float, notes: str = "", rates: dict[str, float] | None = None) -> None:
        """Records the amount of work done, and logs a line when the interval has passed.

        Args:
          done: amount of work done so far.
          notes: text to append, such as a loss.
          rates: per second, by unit; None: the rate of `done` since the first update.
        """
        now = time.monotonic()
        start, done_at_start = self._first = self._first or (now, done)
        moving = done > done_at_start and now > start
        if rates is None:
            rates = {self._unit: (done - done_at_start) / (now - start)} if moving and self._unit else {}
        seconds_left = None
        if moving and self._total is not None:
            seconds_left = (now - start) / (done - done_at_start) * (self._total - done)
        parts = [self._amount(done), *([notes] if notes else [])]
        parts += [f"{short(rate)} {unit}/s" for unit, rate in rates.items() if done > done_at_start]
        parts += [f"ETA {clock(seconds_left)}"] if seconds_left is not None else []
        self._newest = "  ".join(parts), ProgressState(self._name, done, self._total, seconds_left, finished=False)
        self._logged = False
        if now >= self._next_line:
            self._log(logging.INFO)
            self._next_line = now + self._interval
            self._interval = min(self._interval * self.GROWTH, self.LAST)
        elif now >= self._next_refresh:
            self._log(logging.DEBUG)
        else:
            return
        self._next_refresh = now + self.REFRESH

    def close(self) -> None:
        """Logs the newest state if it was not logged yet; nothing where no line was logged before."""
        if self._newest is None or not self._shown:
            return
        line, state = self._newest
        self._newest = line, dataclasses.replace(state, finished=True)
        self._log(logging.DEBUG if self._logged else logging.INFO)
        self._newest = None

    def _log(self, level: int) -> None:
        assert self._newest is not None
        line, state = self._newest
        logger.log(level, "%s", line, extra={"progress": state})
        self._shown = True
        self._logged = self._logged or level == logging.INFO

    def _amount(self, done: float) -> str:
        unit = f" {self._unit}" if self._unit else ""
        if self._total is None:
            return f"{self._name} {_number(done)}{unit}"
        fraction = done / self._total if self._total else 1.0
        return f"{self._name} {_number(done)}/{_number(self._total)}{unit} ({fraction:.0%})"


@contextlib.contextmanager
def messages_to(callback: Callable[[str], None]) -> Iterator[None]:
    """Calls `callback(line)` for every message and progress line inside the `with` block."""
    handler = _Callback(callback)
    level_before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level_before or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level_before)


def log_to_stderr() -> None:
    """Writes messages and progress to stderr; on a terminal the progress line is redrawn in place."""
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())
    logger.propagate = False  # else a handler on the root logger, which some libraries add, would show every line twice
    logger.setLevel(logging.DEBUG if sys.stderr.isatty() else logging.INFO)


def short(rate: float) -> str:
    """A rate in short form: 812, 34.1k, 2.50M."""
    for scale, letter in ((1e6, "M"), (1e3, "k")):
        if rate >= scale:
            return f"{rate / scale:.{2 if rate < 10 * scale else 1}f}{letter}"
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2f}"


def clock(seconds: float) -> str:
    """A duration as M:SS or H:MM:SS: 0:42, 12:05, 3:10:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(amount: float) -> str:
    return f"{amount:,.1f}" if isinstance(amount, float) else str(amount)


class _Callback(logging.Handler):
    def __init__(self, callback: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._callback = callback

    def emit(self, record: logging.LogRecord) -> None:
        self._callback(record.getMessage())


class _StderrHandler(logging.Handler):
    """Writes to `sys.stderr` as it is when a record comes, which tests and notebooks replace."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._in_place = False  # whether the cursor is at the end of a progress line

    def emit(self, record: logging.LogRecord) -> None:
        state: ProgressState | None = getattr(record, "progress", None)
        text = record.getMessage()
        if not sys.stderr.isatty():
            if record.levelno >= logging.INFO:
                sys.stderr.write(f"{text}\n")
        elif state is not None or record.levelno >= logging.INFO:
            self._clear_line_and_write(text, stays=state is None or state.finished)
        sys.stderr.flush()

    def _clear_line_and_write(self, text: str, *, stays: bool) -> None:
        clear = "\r\x1b[K" if self._in_place or not stays else ""
        sys.stderr.write(f"{clear}{text}" + ("\n" if stays else ""))
        self._in_place = not stays
