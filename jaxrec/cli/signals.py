"""Ctrl-C and SIGTERM end a compilation, which Python alone would let run to its end first."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

COMPILER = os.path.join("jax", "_src", "compiler.py")
"""The file whose functions call XLA's compiler; while it works, the main thread runs no Python."""
GRACE = 2.0
"""Seconds that a compilation has to end by itself after a signal came."""


@contextlib.contextmanager
def ending_compilations(grace: float = GRACE) -> Iterator[None]:
    """While entered, SIGINT or SIGTERM ends the process if the main thread stays inside one compilation.

    Python runs a signal's handler in the main thread once that is back from C, and a compilation can take minutes. Here
    a second thread is woken by the signal itself. Where the main thread is inside jax's compiler and still in the same
    call after `grace` seconds, the process exits with 128 + the signal's number; checkpoints of earlier steps stay. In
    all other cases the signal's handler does what it always does: a training step is finished and saved first.

    For programs that own their process; it does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(woken, grace), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        wakes.close()  # the watcher reads the end and returns
        watcher.join()
        woken.close()


def _watch(woken: socket.socket, grace: float) -> None:
    while received := woken.recv(1):
        number = received[0]
        if number not in (signal.SIGINT, signal.SIGTERM) or (frame := _compiling()) is None:
            continue
        deadline = time.monotonic() + grace
        while (still := _compiling() is frame) and time.monotonic() < deadline:
            time.sleep(0.05)
        if still:
            name = signal.Signals(number).name
            text = f"\n{name}: stopped inside a compilation; the same command goes on from the last checkpoint\n"
            sys.stdout.flush()
            os.write(2, text.encode())
            os._exit(128 + number)


def _compiling() -> FrameType | None:
    """The main thread's innermost Python frame where it is inside jax's compiler, else None."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return frame if frame is not None and frame.f_code.co_filename.endswith(COMPILER) else None
