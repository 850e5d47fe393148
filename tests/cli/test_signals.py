"""Signals end a command within seconds, in Python and in C, and are left to handlers that were set meanwhile."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
HANDLERS = """
import signal

def handle(number, frame):
    print("handled", flush=True)
"""
TAKEN_OVER = """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
"""
# C code that runs no handler while it works and lets other threads go on, as XLA's compiler does; it is called from a
# file that is named as jax's, or from another one.
WORK = """
import hashlib

def work(rounds):
    print("working", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)
"""
CALL = """
from jaxrec.cli.signals import stopping_at_signals
with stopping_at_signals(grace={grace}):{handlers}
    work({rounds})
print("done", flush=True)
"""
XLA = """
import jax, jax.numpy as jnp
from jaxrec.cli.signals import stopping_at_signals

def long(x):
    for _ in range(3000):
        x = jnp.sin(x @ x) + jnp.sort(x)
    return x

jax.config.update("jax_enable_compilation_cache", False)
with stopping_at_signals(grace=1.0):
    lowered = jax.jit(long).lower(jnp.zeros((8, 8)))
    print("working", flush=True)
    lowered.compile()
"""
PYTHON = """
import time
from jaxrec.cli.signals import stopping_at_signals
with stopping_at_signals():
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""
SWALLOWED = """
import jaxrec.cli.signals as signals
signals.CLEANUP = 1.0
with signals.stopping_at_signals():
    print("working", flush=True)
    while True:
        try:
            __import__("time").sleep(60)
        except SystemExit:
            pass
"""


def ended(program: str, number: int, after: float = 0.0) -> tuple[int, str, str]:
    """Exit code, output and errors of a program that is sent a signal `after` seconds of its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANDLERS + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    time.sleep(after)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def working(file: str, rounds: int, grace: float, handlers: str = "") -> str:
    return f"exec(compile({WORK!r}, {file!r}, 'exec'))" + CALL.format(rounds=rounds, grace=grace, handlers=handlers)


COMPILER = "/env/jax/_src/compiler.py"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("file", [COMPILER, "/env/other.py"], ids=["a compilation", "another call into C"])
def test_a_long_call_into_c_is_ended(number: int, file: str) -> None:
    code, out, err = ended(working(file, 2_000_000_000, grace=0.2), number)
    assert code == 128 + number
    assert out == ""
    assert f"{signal.Signals(number).name}: stopped" in err
    assert "Traceback" not in err


def test_a_compilation_is_ended_where_training_handles_signals() -> None:
    code, _, err = ended(working(COMPILER, 2_000_000_000, 0.2, TAKEN_OVER), signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert "SIGTERM: stopped inside a compilation" in err


@pytest.mark.parametrize(
    ("file", "rounds", "grace"),
    [(COMPILER, 1_000_000, 60.0), ("/env/other.py", 2_000_000, 0.01)],
    ids=["a compilation that ends in time", "no compilation"],
)
def test_everything_else_is_left_to_its_handler(file: str, rounds: int, grace: float) -> None:
    assert ended(working(file, rounds, grace, TAKEN_OVER), signal.SIGINT) == (0, "handled\ndone\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_half_done_is_cleaned_up(number: int) -> None:
    code, out, err = ended(PYTHON, number, after=0.1)
    assert (code, out) == (128 + number, "cleaned up\n")
    assert err == f"\n{signal.Signals(number).name}: stopped; the same command resumes from what is stored\n"


def test_a_program_that_goes_on_nevertheless_is_ended() -> None:
    assert ended(SWALLOWED, signal.SIGTERM, after=0.1)[0] == 128 + signal.SIGTERM


@pytest.mark.long
@pytest.mark.slow
def test_xla_is_ended() -> None:
    code, _, err = ended(XLA, signal.SIGTERM, after=2.0)
    assert code == 128 + signal.SIGTERM, err
    assert "SIGTERM: stopped" in err
