"""Tasks in processes of this machine, each with its share of the cores or GPUs."""

from __future__ import annotations

import os
import pathlib
import pickle
import queue
import signal
import subprocess
import sys
import threading

from jaxrec.progress import logger
from jaxrec.studies.work import ERROR
from jaxrec.studies.workers import Task


class Processes:
    """See `jaxrec.studies.workers.Place`. A process ends, as at SIGTERM, when this one does: its input then ends.

    Args:
      count: of slots.
    Raises:
      ValueError: there are fewer GPUs or, without any, cores than slots.
    """

    def __init__(self, count: int) -> None:
        gpus, self._cores = visible_gpus(), _cores()
        number, kind = (len(gpus), "GPUs") if gpus else (len(self._cores), "cores")
        if count > number:
            raise ValueError(f"workers {count}: {number} {kind} are to be seen here; give at most {number}")
        self._gpus, self._count = gpus, count
        self._processes: dict[Task, subprocess.Popen[bytes]] = {}
        self._ended: queue.SimpleQueue[tuple[Task, str]] = queue.SimpleQueue()

    def start(self, task: Task, slot: int) -> None:
        """See `Place`."""
        environment, cores = dict(os.environ), self._cores
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[slot :: self._count])
        else:
            cores = cores[slot :: self._count]
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxrec.cli.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal would reach it, too
        )
        self._processes[task] = process
        threading.Thread(target=self._follow, args=(task, process), daemon=True).start()
        assert process.stdin is not None
        pickle.dump((cores, task.name, task.function, task.arguments), process.stdin)
        process.stdin.flush()

    def _follow(self, task: Task, process: subprocess.Popen[bytes]) -> None:
        """Logs what a process says until it ends."""
        assert process.stdout is not None
        line = ""
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if not line.startswith(ERROR):
                logger.info("%s", line)
        code = process.wait()
        error = line.removeprefix(ERROR) if line.startswith(ERROR) else f"exit code {code}"
        if code < 0:
            error = f"ended by {signal.Signals(-code).name}" + (", out of memory perhaps" if code == -9 else "")
        self._ended.put((task, error if code else ""))

    def ended(self, seconds: float) -> list[tuple[Task, str]]:
        """See `Place`."""
        try:
            task, error = self._ended.get(timeout=seconds)
        except queue.Empty:
            return []
        process = self._processes.pop(task)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        return [(task, error)]

    def close(self) -> None:
        """See `Place`."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that jax would see, without starting it."""
    if os.environ.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
        return []
    if (names := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in names.split(",") if name]
    return [str(n) for n, _ in enumerate(pathlib.Path("/proc/driver/nvidia/gpus").glob("*"))]


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
