"""The first signal is noted while steps run; a second one ends the process."""

import os
import signal

import pytest

from jaxrec.training.interrupt import Interrupt

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def test_the_first_signal_is_noted_and_the_second_needs_no_handler(capfd) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    interrupt = Interrupt("t5")
    with pytest.raises(SystemExit) as left, interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 128 + signal.SIGTERM
    assert interrupt.stop_signal(1) == signal.SIGTERM
    assert "SIGTERM: finishing this step and saving; once more to stop now" in capfd.readouterr().err
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with interrupt:
        interrupt.signal = None
        interrupt._note(signal.SIGINT, None)
        assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL] * 2
        interrupt.signal = None
