"""Tasks in processes of this machine, each with its share of the cores or GPUs."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time

from jaxrec.progress import logger
from jaxrec.studies.work import BUG, FAILED, Failure
from jaxrec.studies.workers import Outcome, Task
from jaxrec.system.run import COMMAND, command


class Processes:
    """See `jaxrec.studies.workers.Place`. A process ends, as at SIGTERM, when this one does: its input then ends.

    Args:
      count: of slots.
    Raises:
      ValueError: there are fewer GPUs or, without any, cores than slots, or the devices are TPUs.
    """

    def __init__(self, count: int) -> None:
        gpus, self._cores = visible_gpus(), _cores()
        if not gpus and _has_tpus() and count > 1:
            raise ValueError(f"workers {count}: processes can't share a machine's TPUs; leave it out, or add ray")
        number, kind = (len(gpus), "GPUs") if gpus else (len(self._cores), "cores")
        if count > number:
            raise ValueError(f"workers {count}: {number} {kind} are to be seen here; give at most {number}")
        self._gpus, self._count = gpus, count
        self._processes: dict[Task, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._said: queue.SimpleQueue[str | Outcome] = queue.SimpleQueue()

    def start(self, task: Task, slot: int, seconds: float) -> None:
        """See `Place`."""
        # The worker's output can hold any name; results are those of this command.
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", COMMAND: command()}
        cores = self._cores
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[slot :: self._count])
        else:
            cores = cores[slot :: self._count]
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxrec.cli.worker", ",".join(map(str, cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal would reach it, too
        )
        self._processes[task] = process
        thread = threading.Thread(target=self._follow, args=(task, process), daemon=True)
        self._threads.append(thread)
        thread.start()
        assert process.stdin is not None
        pickle.dump((task.name, task.function, task.arguments, seconds), process.stdin)
        process.stdin.flush()

    def _follow(self, task: Task, process: subprocess.Popen[bytes]) -> None:
        """Passes on what a process says, and how it ends."""
        failed = None
        with process:
            assert process.stdout is not None
            for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                if line.startswith(FAILED):
                    failed = Failure(*json.loads(line.removeprefix(FAILED)))
                else:
                    self._said.put(line)
        if process.returncode and failed is None:
            failed = Failure(BUG, _how_it_ended(process.returncode))
        self._said.put((task, failed))

    def ended(self, seconds: float) -> list[Outcome]:
        """See `Place`; logs in this thread what the processes have said meanwhile."""
        until = time.monotonic() + seconds
        while self._processes:
            try:
                said = self._said.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                return []
            if not isinstance(said, str):
                self._processes.pop(said[0])
                return [said]
            logger.info("%s", said)
        return []

    def stop(self) -> list[Outcome]:
        """See `Place`."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        outcomes = []
        while self._processes:
            outcomes += self.ended(3600.0)
        for thread in self._threads:
            thread.join()
        return outcomes


def _how_it_ended(code: int) -> str:
    if code > 0:
        return f"stopped (exit code {code})" if code > 128 else f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"ended by {name}" + (", out of memory perhaps" if name == "SIGKILL" else "")


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that jax would see, without starting it."""
    plugins = (importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if not any(plugins) or _only_cpu():
        return []
    if (names := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        listed = [name.strip() for name in names.split(",")]
        return listed[: next((n for n, name in enumerate(listed) if name in ("", "-1")), len(listed))]
    return [str(n) for n, _ in enumerate(pathlib.Path("/proc/driver/nvidia/gpus").glob("*"))]


def _has_tpus() -> bool:
    if importlib.util.find_spec("libtpu") is None or _only_cpu():
        return False
    return any(pathlib.Path("/dev").glob("accel[0-9]*")) or any(pathlib.Path("/dev/vfio").glob("[0-9]*"))


def _only_cpu() -> bool:
    return os.environ.get("JAX_PLATFORMS", "").split(",")[0] == "cpu"


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
