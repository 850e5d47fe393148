"""Signals end a program that is inside a compilation, and are left to their handlers everywhere else."""

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
from jaxrec.cli.signals import ending_compilations

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: print("handled", flush=True))
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
with ending_compilations(grace={grace}):
    work({rounds})
print("done", flush=True)
"""
XLA = """
import jax, jax.numpy as jnp

def long(x):
    for _ in range(3000):
        x = jnp.sin(x @ x) + jnp.sort(x)
    return x

jax.config.update("jax_enable_compilation_cache", False)
with ending_compilations(grace=1.0):
    lowered = jax.jit(long).lower(jnp.zeros((8, 8)))
    print("working", flush=True)
    lowered.compile()
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


def working(file: str, rounds: int, grace: float) -> str:
    return f"exec(compile({WORK!r}, {file!r}, 'exec'))" + CALL.format(rounds=rounds, grace=grace)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_compilation_is_ended(number: int) -> None:
    code, out, err = ended(working("/env/jax/_src/compiler.py", 2_000_000_000, grace=0.2), number)
    assert code == 128 + number
    assert out == ""
    assert f"{signal.Signals(number).name}: stopped inside a compilation" in err


@pytest.mark.parametrize(
    ("file", "rounds", "grace"),
    [("/env/jax/_src/compiler.py", 1_000_000, 60.0), ("/env/other.py", 2_000_000, 0.01)],
    ids=["a compilation that ends in time", "no compilation"],
)
def test_everything_else_is_left_to_the_handler(file: str, rounds: int, grace: float) -> None:
    assert ended(working(file, rounds, grace), signal.SIGINT) == (0, "handled\ndone\n", "")


@pytest.mark.long
@pytest.mark.slow
def test_xla_is_ended() -> None:
    code, _, err = ended(XLA, signal.SIGTERM, after=2.0)
    assert code == 128 + signal.SIGTERM, err
    assert "SIGTERM: stopped inside a compilation" in err
