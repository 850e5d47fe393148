"""A process that does a task of `jaxrec.studies.processes`, which it reads from its input."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading

from jaxrec.cli.signals import stopping_at_signals
from jaxrec.studies.work import ERROR, work


def main() -> None:
    """Does the task that the input holds; where the input ends before it is done, stops as at SIGTERM."""
    cores, name, function, arguments = pickle.load(sys.stdin.buffer)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before jax counts them for its threads
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    with stopping_at_signals():
        error = work(name, function, arguments)
    if error:
        print(f"{ERROR}{error}", flush=True)
        raise SystemExit(1)


def _stop_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # a thread that waits inside a buffered read would abort Python's way out
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
