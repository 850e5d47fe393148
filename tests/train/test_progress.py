"""The progress line, on a terminal and in a file."""

import io

import pytest

from jaxrec.train import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticks(monkeypatch):
    """A clock that a test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_numbers_for_people() -> None:
    assert [progress.short(x) for x in (0.5, 812.4, 34_100, 2_500_000, 25e6)] == [
        "0.50",
        "812",
        "34.1k",
        "2.50M",
        "25.0M",
    ]
    assert [progress.clock(x) for x in (42, 725, 11400)] == ["0:42", "12:05", "3:10:00"]


def test_a_file_gets_few_whole_lines(ticks) -> None:
    out = io.StringIO()
    line = progress.Progress("t5", 100, out)
    for step in range(1, 51):
        ticks[0] += 1.0
        line.update(step, 2.0 / step, {"examples": 812.4})
    line.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "t5 1/100 (1%)  loss 2.0000"
    assert lines[-1] == "t5 50/100 (50%)  loss 0.0400  812 examples/s  ETA 0:50"
    assert len(lines) < 9  # 2 s, 3 s, 4.5 s, ... apart
    assert "\r" not in out.getvalue()


def test_a_terminal_is_written_in_place(ticks) -> None:
    out = Terminal()
    line = progress.Progress("t5", 10, out)
    for step in range(1, 4):
        ticks[0] += 1.0
        line.update(step, 1.0, {})
    line.say("saved")
    line.close()
    assert out.getvalue().count("\r\x1b[K") == 4
    assert out.getvalue().count("\n") == 2
