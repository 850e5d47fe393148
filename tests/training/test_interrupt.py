"""The first signal is noted while steps run, a second one ends the process; and training ends with its time."""

import os
import signal
import time

import pytest

from jaxrec.training.interrupt import Interrupt, OutOfTimeError, time_limit

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def test_the_first_signal_is_noted_and_the_second_needs_no_handler(capfd) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    interrupt = Interrupt("t5")
    with pytest.raises(SystemExit) as left, interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 128 + signal.SIGTERM
    reason = interrupt.reason(1)
    assert isinstance(reason, SystemExit)
    assert reason.code == 128 + signal.SIGTERM
    assert "SIGTERM: finishing this step and saving; once more to stop now" in capfd.readouterr().err
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with interrupt:
        interrupt.signal = None
        interrupt._note(signal.SIGINT, None)
        assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL] * 2
        interrupt.signal = None


def validate(seconds: float, *, signal_first: bool) -> int | None:
    """A validation that is told to stop before it or in it; the signal that is noted after it."""
    with Interrupt("t5") as interrupt:
        if signal_first:
            os.kill(os.getpid(), signal.SIGTERM)
        with interrupt.long_part():
            if not signal_first:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(seconds)
        time.sleep(0.4)
        noted, interrupt.signal = interrupt.signal, None
        return noted


@pytest.mark.parametrize("early", [True, False], ids=["signal before the validation", "signal in it"])
def test_a_validation_gets_a_few_seconds(early: bool, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setattr("jaxrec.training.interrupt.PATIENCE", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(SystemExit) as left:
        validate(30.0, signal_first=early)
    assert left.value.code == 128 + signal.SIGTERM
    assert "stopped while validating" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGALRM) == before
    assert validate(0.0, signal_first=early) == signal.SIGTERM


def test_time_is_up_for_what_is_inside_the_limit_alone() -> None:
    with Interrupt("t5") as interrupt:
        with time_limit(0.0):
            time.sleep(0.01)
            reason = interrupt.reason(7)
            with time_limit(60.0):
                assert interrupt.reason(7) is None
        assert interrupt.reason(7) is None
    assert isinstance(reason, OutOfTimeError)
    assert str(reason) == "t5: time is up after step 7"
