"""Times two implementations of the same work in alternating rounds and writes the results."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax

from jaxrec.files import write_whole

ROUNDS = 7
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "numpy",
    "polars",
    "pyarrow",
    "scikit-learn",
    "torch",
    "transformers",
    "gensim",
    "faiss-cpu",
    "lancedb",
)


class Workload(Protocol):
    """A benchmark: the interface of this folder's workload modules.

    Attributes:
      name: its row in the table.
      reach: required speed-up over the peer.
      aim: hoped-for speed-up over the peer.
    """

    name: str
    reach: float
    aim: float

    def cases(self, quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
        """Sets up both sides and checks that they agree.

        Args:
          quick: small sizes, a smoke test of seconds whose ratios mean nothing.
        Returns:
          ours(), peer(): each does the whole piece of work and returns when the device is done with it.
          work, unit: the amount of work and its unit, for instance 198502, "events".
          note: sizes, the peer, and how closely the results agree.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round, in the order they were run."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Speed-up over the peer: ratio of the median times."""
        return statistics.median(self.peer) / statistics.median(self.ours)

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest ratio of neighbouring rounds."""
        ratios = [peer / ours for ours, peer in zip(self.ours, self.peer, strict=True)]
        return min(ratios), max(ratios)


def interleave(ours: Callable[[], object], peer: Callable[[], object], rounds: int = ROUNDS) -> Timing:
    """Times ours, peer, ours, peer, ... after one round of each that compiles and warms up.

    Rounds alternate so that a slowdown of the machine affects both sides.
    """
    seconds_of: dict[Callable[[], object], list[float]] = {ours: [], peer: []}
    for number in range(rounds + 1):
        for work, seconds in seconds_of.items():
            started = time.perf_counter()
            work()
            if number > 0:
                seconds.append(time.perf_counter() - started)
    return Timing(tuple(seconds_of[ours]), tuple(seconds_of[peer]))


def measure(workload: Workload, *, quick: bool) -> dict[str, Any]:
    """Sets up and times one workload; returns the content of its JSON file."""
    ours, peer, work, unit, note = workload.cases(quick)
    timing = interleave(ours, peer, 3 if quick else ROUNDS)
    return {
        "workload": workload.name,
        "ratio": timing.ratio,
        "ratio_spread": timing.spread,
        "reach": workload.reach,
        "aim": workload.aim,
        "verdict": verdict(timing.ratio, workload.reach, workload.aim, quick=quick),
        "work": work,
        "unit": unit,
        "note": note,
        "quick": quick,
        "ours": _side(timing.ours, work),
        "peer": _side(timing.peer, work),
        **circumstances(),
    }


def verdict(ratio: float, reach: float, aim: float, *, quick: bool) -> str:
    """The table's verdict: "aim", "reach" or "below"; "quick" where sizes are too small to judge."""
    if quick:
        return "quick"
    return "aim" if ratio >= aim else "reach" if ratio >= reach else "below"


def circumstances() -> dict[str, Any]:
    """Provenance of a measurement: command, device, processor, versions."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": "python -m " + " ".join(["benchmarks." + pathlib.Path(sys.argv[0]).stem, *sys.argv[1:]]),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "versions": versions,
    }


def write(folder: pathlib.Path, name: str, report: dict[str, Any]) -> None:
    """Writes `report` to folder/name.json atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.json", json.dumps(report, indent=2) + "\n")


def _side(seconds: tuple[float, ...], work: float) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {"median": median, "lowest": min(seconds), "highest": max(seconds), "rate": work / median, "rounds": seconds}


def _processor() -> str:
    """The processor's name, as far as the system reports it."""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
