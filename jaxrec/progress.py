"""What jaxrec says while it works: messages and progress lines, both through Python's logging.

Nothing is shown by default. `logging.basicConfig(level=logging.INFO)` shows everything, a handler on the logger
"jaxrec" receives it, `messages_to(function)` hands each line to a function, and the command line calls `log_to_stderr`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger("jaxrec")
"""The parent of everything that the library logs."""
logger.addHandler(logging.NullHandler())  # without any handler, Python would print warnings to stderr


@dataclasses.dataclass(frozen=True)
class ProgressState:
    """How far a piece of work is; the `progress` attribute of the log records that `Progress` makes.

    Attributes:
      name: what is being done.
      done, total: amounts of work; `total` is None where nobody knows it.
      seconds_left: an estimate; None before there is one.
      finished: whether this is the last record of the work.
    """

    name: str
    done: float
    total: float | None
    seconds_left: float | None
    finished: bool


class Progress:
    """The one progress line: `NAME 40/100 UNIT (40%)  NOTES  812 UNIT/s  ETA 0:42`.

    Lines are logged at level INFO at growing intervals, 2 s to 60 s apart; in between, for displays that show one line
    in place, at level DEBUG at most five times a second. Each record has a `ProgressState` as attribute `progress`.
    """

    FIRST, GROWTH, LAST = 2.0, 1.5, 60.0
    REFRESH = 0.2
    """Seconds between records of level DEBUG."""

    def __init__(self, name: str, total: float | None, *, unit: str = "", quiet: float = 0.0) -> None:
        """Starts the clock.

        Args:
          name: what is being done.
          total: amount of work, or None where nobody knows it; floats are shown with one decimal.
          unit: of the amounts and of the rate, "" for none.
          quiet: seconds without any line, so that short work says nothing.
        """
        self._name, self._total, self._unit = name, total, unit
        self._first: tuple[float, float] | None = None  # time and amount of the first update: what came before is setup
        self._interval = self.FIRST
        self._next_line = self._next_refresh = time.monotonic() + quiet if quiet else 0.0
        self._newest: tuple[str, ProgressState] | None = None
        self._shown, self._logged = False, True

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, done: float, notes: str = "", rates: dict[str, float] | None = None) -> None:
        """Takes note of the amount done; logs a line when it is time to.

        Args:
          done: amount of work done so far.
          notes: what else the line says, such as a loss.
          rates: per second, by unit; None computes the rate of `done` since the first update.
        """
        now = time.monotonic()
        since, first = self._first = self._first or (now, done)
        moving = done > first and now > since
        if rates is None:
            rates = {self._unit: (done - first) / (now - since)} if moving and self._unit else {}
        left = (now - since) / (done - first) * (self._total - done) if moving and self._total is not None else None
        parts = [self._amount(done), *([notes] if notes else [])]
        parts += [f"{short(rate)} {unit}/s" for unit, rate in rates.items() if done > first]
        parts += [f"ETA {clock(left)}"] if left is not None else []
        self._newest = "  ".join(parts), ProgressState(self._name, done, self._total, left, finished=False)
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
        """Logs the newest state if it was not logged yet; work that stayed quiet all the time stays so."""
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
        share = done / self._total if self._total else 1.0
        return f"{self._name} {_number(done)}/{_number(self._total)}{unit} ({share:.0%})"


@contextlib.contextmanager
def messages_to(callback: Callable[[str], None]) -> Iterator[None]:
    """Calls `callback(line)` for every message and progress line while the context is entered."""
    handler = _Callback(callback)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(before or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def log_to_stderr() -> None:
    """Shows everything on stderr, as the command line does: on a terminal the progress line in place, else as lines."""
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())
    logger.propagate = False  # libraries that give the root logger a handler would show everything twice
    logger.setLevel(logging.DEBUG if sys.stderr.isatty() else logging.INFO)


def short(rate: float) -> str:
    """A rate for people: 812, 34.1k, 2.50M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.{2 if rate < 10 * size else 1}f}{letter}"
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2f}"


def clock(seconds: float) -> str:
    """A duration for people: 0:42, 12:05, 3:10:00."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _number(amount: float) -> str:
    return f"{amount:,.1f}" if isinstance(amount, float) else str(amount)


class _Callback(logging.Handler):
    def __init__(self, callback: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._callback = callback

    def emit(self, record: logging.LogRecord) -> None:
        self._callback(record.getMessage())


class _StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at the time."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._in_place = False  # whether the cursor stands behind a progress line

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
