"""Training that is told to stop at any moment stops within seconds, without a traceback, and resumes."""

import pathlib
import signal
import subprocess
import time

import pytest

SECONDS = 20.0
"""Generous, for a machine with other work; GRACE is 2."""


def stopped_at(process: subprocess.Popen, moment: str, number: int) -> tuple[int, str, float]:
    """Exit code, stderr and seconds until the end, of a process that is sent a signal when it has said `moment`."""
    assert process.stderr is not None
    said = ""
    while moment not in said:
        line = process.stderr.readline()
        assert line, f"it ended before {moment!r}: {said}"
        said += line
    process.send_signal(number)
    sent = time.monotonic()
    _, rest = process.communicate(timeout=120)
    return process.returncode, said + rest, time.monotonic() - sent


@pytest.mark.soak  # each signal in one moment is in tests/cli/test_signals.py
def test_every_stage_stops_and_resumes(tmp_path: pathlib.Path, launch, started, tiny_config) -> None:
    (tmp_path / "tiny.py").write_text(tiny_config)
    moments = [
        ("embedding users", signal.SIGTERM),
        ("clustering users", signal.SIGINT),
        ("training: 60 steps", signal.SIGTERM),
        ("valid/ndcg@10", signal.SIGINT),
        ("measuring on the test items", signal.SIGTERM),
    ]
    for moment, number in moments:
        code, said, seconds = stopped_at(started("train", "tiny.py", folder=tmp_path), moment, number)
        assert code == 128 + number, (moment, said)
        assert "Traceback" not in said, said
        assert seconds < SECONDS, (moment, seconds)
    code, out, err = launch("train", "tiny.py", folder=tmp_path)
    assert code == 0, err
    assert "META ID" in out
