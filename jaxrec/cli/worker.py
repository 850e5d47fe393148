"""A process that does a task of `jaxrec.studies.processes`, which it reads from its input."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import traceback

from jaxrec.cli.failures import BUG, failure
from jaxrec.cli.signals import stopping_at_signals
from jaxrec.studies.work import FAILED, Failure, work


def main() -> None:
    """Does the task that the input holds; where the input ends before it is done, stops as at SIGTERM."""
    if hasattr(os, "sched_setaffinity"):  # before numpy and jax, which the task imports, count cores for their threads
        os.sched_setaffinity(0, [int(core) for core in sys.argv[1].split(",")])
    task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        with stopping_at_signals():
            failed = work(*task)
    except Exception as error:
        failed = Failure(*failure(error))
        if failed.code == BUG:
            traceback.print_exception(error)
    if failed:
        print(f"{FAILED}{json.dumps(failed)}", flush=True)
        raise SystemExit(failed.code)


def _stop_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # a thread that waits inside a buffered read would abort Python's way out
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
