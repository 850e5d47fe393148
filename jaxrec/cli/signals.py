"""Makes Ctrl-C and SIGTERM end a command within seconds, whatever it does, without a traceback."""

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
"""Seconds after a signal before a call into C, such as a compilation, is interrupted."""
LOOK = 0.05
"""Seconds between looks at whether the main thread compiles, once another handler has taken a signal."""
CLEANUP = 10.0
"""Seconds after which a process that is stopping, and deletes what is half written, is ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stopping_at_signals(grace: float = GRACE) -> Iterator[None]:
    """Inside the `with` block, SIGINT or SIGTERM raises SystemExit(128 + its number) in the main thread.

    Python runs signal handlers in the main thread, after it has returned from C code, and a compilation or a
    clustering can take minutes. So the signal also wakes a second thread through a file descriptor, which ends the
    process if no handler has run after `grace` seconds. What is stored is always whole, and the same command resumes.

    Where another handler was set meanwhile, as training does, which finishes and saves the current step, it decides;
    then only compilations are interrupted, the one that goes on and any that begins afterwards.

    For programs that own their process. Outside the main thread, and inside another such block, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is _stop:
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    wakeup_fd_before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    handlers_before = {number: signal.signal(number, _stop) for number in SIGNALS}
    watcher = threading.Thread(target=_watch, args=(receiver, grace), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        if _received:  # Python's own way out would wait for a compilation that goes on in a thread of XLA's
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                sys.stdout.flush()
            os._exit(128 + _received[0])
        for number, handler in handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_fd_before)
        sender.close()  # the watcher reads end-of-file and returns
        watcher.join()
        receiver.close()


_stopping = threading.Event()
_received: list[int] = []
"""The signal that `_stop` has received."""


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    _stopping.set()
    for handled in SIGNALS:
        signal.signal(handled, signal.SIG_DFL)  # a second one needs no Python to end the process
    _say(number, "stopped")
    timer = threading.Timer(CLEANUP, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()
    raise SystemExit(128 + number)


def _watch(receiver: socket.socket, grace: float) -> None:
    """Reads the numbers of signals, and ends the process as `stopping_at_signals` says."""
    handled_elsewhere = None  # the last signal that another handler took
    compiling, deadline = None, 0.0
    while True:
        try:
            received = receiver.recv(1)
        except TimeoutError:
            received = None
        if received == b"":
            return
        if received and received[0] in SIGNALS:
            number = received[0]
            if signal.getsignal(number) is not _stop:
                handled_elsewhere = number
                receiver.settimeout(LOOK)
            elif not _stopping.wait(grace):
                _say(number, "stopped")
                os._exit(128 + number)
        if handled_elsewhere is not None and not _stopping.is_set():
            frame = _compiling()
            if frame is not compiling:
                compiling, deadline = frame, time.monotonic() + grace
            elif frame is not None and time.monotonic() >= deadline:
                _say(handled_elsewhere, "stopped inside a compilation")
                os._exit(128 + handled_elsewhere)


def _say(number: int, what: str) -> None:
    text = f"\n{signal.Signals(number).name}: {what}; the same command resumes from what is stored\n"
    with contextlib.suppress(OSError):
        os.write(2, text.encode())  # writing to stderr or logging may be what was interrupted


def _compiling() -> FrameType | None:
    """The main thread's innermost Python frame if it is inside jax's compiler, else None."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return frame if frame is not None and frame.f_code.co_filename.endswith(COMPILER) else None
