"""Makes Ctrl-C and SIGTERM interrupt an XLA compilation; Python alone would wait until it is finished."""

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
"""Seconds after a signal before a compilation that is still running is interrupted."""


@contextlib.contextmanager
def ending_compilations(grace: float = GRACE) -> Iterator[None]:
    """Inside the `with` block, SIGINT or SIGTERM ends the process if the main thread is busy compiling.

    Python runs signal handlers in the main thread, after it has returned from C code, and a compilation can take
    minutes. Here the signal wakes a second thread through a file descriptor. If the main thread is inside jax's
    compiler, and still in the same call after `grace` seconds, the process exits with 128 + the signal's number;
    earlier checkpoints are kept. Otherwise the usual handler runs: training finishes and saves the current step first.

    For programs that own their process. Outside the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    wakeup_fd_before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receiver, grace), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_fd_before)
        sender.close()  # the watcher reads end-of-file and returns
        watcher.join()
        receiver.close()


def _watch(receiver: socket.socket, grace: float) -> None:
    """Reads the numbers of signals, and ends the process as `ending_compilations` says."""
    while received := receiver.recv(1):
        number = received[0]
        if number not in (signal.SIGINT, signal.SIGTERM) or (frame := _compiling()) is None:
            continue
        deadline = time.monotonic() + grace
        while (still_compiling := _compiling() is frame) and time.monotonic() < deadline:
            time.sleep(0.05)
        if still_compiling:
            name = signal.Signals(number).name
            text = f"\n{name}: stopped inside a compilation; the same command resumes from the last checkpoint\n"
            sys.stdout.flush()
            os.write(2, text.encode())
            os._exit(128 + number)


def _compiling() -> FrameType | None:
    """The main thread's innermost Python frame if it is inside jax's compiler, else None."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return frame if frame is not None and frame.f_code.co_filename.endswith(COMPILER) else None
