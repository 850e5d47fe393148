"""Messages and the progress line: silent by default, on a terminal in place, in a file as few lines, to a callback."""

import io
import logging
import sys

import pytest

from jaxrec import progress
from jaxrec.progress import Progress, ProgressState, log_to_stderr, logger, messages_to


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticks(monkeypatch):
    """A clock that a test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def fresh_logger(monkeypatch):
    """The logger as it is after an import, whatever other tests have attached."""
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logger, "propagate", False)
    level = logger.level
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(level)


def shown_on(stream: io.StringIO, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    log_to_stderr()
    log_to_stderr()  # a second call adds no second handler


def test_numbers_for_people() -> None:
    assert [progress.short(x) for x in (0.5, 812.4, 34_100, 2_500_000, 25e6)] == [
        "0.50",
        "812",
        "34.1k",
        "2.50M",
        "25.0M",
    ]
    assert [progress.clock(x) for x in (42, 725, 11400)] == ["0:42", "12:05", "3:10:00"]


def test_a_file_gets_few_whole_lines(ticks, fresh_logger, monkeypatch) -> None:
    out = io.StringIO()
    shown_on(out, monkeypatch)
    line = Progress("t5", 100)
    for step in range(1, 51):
        ticks[0] += 1.0
        line.update(step, f"loss {2.0 / step:.4f}", {"examples": 812.4})
    line.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "t5 1/100 (1%)  loss 2.0000"
    assert lines[-1] == "t5 50/100 (50%)  loss 0.0400  812 examples/s  ETA 0:50"
    assert len(lines) < 9  # 2 s, 3 s, 4.5 s, ... apart
    assert "\r" not in out.getvalue()


def test_a_terminal_is_written_in_place(ticks, fresh_logger, monkeypatch) -> None:
    out = Terminal()
    shown_on(out, monkeypatch)
    line = Progress("t5", 10)
    for step in range(1, 4):
        ticks[0] += 1.0
        line.update(step, "loss 1.0000", {})
    logger.info("saved")
    line.close()
    assert out.getvalue().count("\r\x1b[K") == 4
    assert out.getvalue().count("\n") == 2
    assert out.getvalue().splitlines()[-1] == "t5 3/10 (30%)  loss 1.0000  ETA 0:07"


def test_rates_are_those_since_the_first_update(ticks, fresh_logger) -> None:
    lines: list[str] = []
    with messages_to(lines.append):
        line = Progress("a.zip", 100.0, unit="MB")
        line.update(10.0)
        ticks[0] += 4.0
        line.update(30.0)
        line = Progress("a", None, unit="MB")
        line.update(0.0)
        ticks[0] += 2.0
        line.update(2.0)
    assert lines == [
        "a.zip 10.0/100.0 MB (10%)",
        "a.zip 30.0/100.0 MB (30%)  5.00 MB/s  ETA 0:14",
        "a 0.0 MB",
        "a 2.0 MB  1.00 MB/s",
    ]


def test_short_work_is_quiet(ticks, fresh_logger) -> None:
    lines: list[str] = []
    with messages_to(lines.append):
        with Progress("users", 4, quiet=10.0) as line:
            for done in range(1, 5):
                ticks[0] += 1.0
                line.update(done)
        assert not lines
        with Progress("users", 4, quiet=10.0) as line:
            for done in range(1, 5):
                ticks[0] += 4.0
                line.update(done)
    assert lines == ["users 3/4 (75%)  ETA 0:04", "users 4/4 (100%)  ETA 0:00"]


def test_nothing_is_shown_unless_asked_for(fresh_logger, capsys) -> None:
    logger.warning("an event was dropped")
    with Progress("t5", 2) as line:
        line.update(1)
    logger.handlers.clear()
    logger.addHandler(logging.NullHandler())
    assert capsys.readouterr().err == ""
    lines: list[str] = []
    with messages_to(lines.append):
        logger.info("embedding")
    logger.info("not heard")
    assert lines == ["embedding"]


def test_a_handler_gets_numbers(ticks, fresh_logger) -> None:
    records: list[logging.LogRecord] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger.addHandler(Collect())
    logger.setLevel(logging.DEBUG)
    with Progress("t5", 4) as line:
        for done in (1, 2):
            ticks[0] += 1.0
            line.update(done)
    states = [record.progress for record in records]  # set by logging
    assert states[0] == ProgressState("t5", 1, 4, None, finished=False)
    assert states[1] == ProgressState("t5", 2, 4, 2.0, finished=False)
    assert states[-1] == ProgressState("t5", 2, 4, 2.0, finished=True)
