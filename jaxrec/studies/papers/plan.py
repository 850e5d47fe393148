"""Which runs the papers' tables still need, in which order they are trained, and about how long each takes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from jaxrec.baselines.registry import BASELINES, obstacle
from jaxrec.config import Config
from jaxrec.files import read_kept, write_whole
from jaxrec.hub.registry import backbone
from jaxrec.progress import clock
from jaxrec.studies.papers.request import TableRequest

DURATIONS = "durations.json"
REMEDY = "delete it: durations are then estimated anew"
MEASURE = "delete it, and the run is measured anew"
ROWS = 10_000
"""Rows of an epoch, so that runs of some epochs and runs of some steps have an order; only the data would tell."""
UNITS = (3600.0, 60.0, 1.0)
"""Seconds of an hour, a minute and a second."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run or baseline to train for one or more tables.

    Attributes:
      name: as the tables call it, with the seed where there are several.
      config: of the run; of a baseline, its data, seed, protocol and folder.
      baseline: a name of `BASELINES`; None for a run of the study.
      tables: names of the tables that show it.
    """

    name: str
    config: Config
    baseline: str | None
    tables: tuple[str, ...]

    @property
    def results(self) -> pathlib.Path:
        """The file of its results."""
        return self.config.folder / ("test/" if self.baseline else "") / "results.json"

    @property
    def finished(self) -> bool:
        """Whether its folder holds results."""
        return self.results.is_file()

    @property
    def kind(self) -> str:
        """Jobs of a kind take time in proportion to `work`: those of a study with the same backbone, or baselines."""
        return f"{self.config.folder.parent.name}/{'baseline' if self.baseline else self.config.model.backbone}"

    @property
    def work(self) -> float:
        """The amount of work, in proportion among jobs of a kind: epochs x length of rows x weights of the layers."""
        if self.baseline:
            return 1.0
        train, model = self.config.train, self.config.model
        record = backbone(model.backbone)
        shape = record.shape(model)
        layers = sum(map(int, re.findall(r"\d+", record.depth(shape))))
        length = train.source_length + train.target_length
        amount = train.steps * train.rows if train.steps else train.epochs * ROWS
        return float(amount * length * layers * shape.d_model**2 * train.members)


def table_jobs(requests: Sequence[TableRequest], seeds: Sequence[int], only: Sequence[str] = ()) -> list[Job]:
    """The runs and baselines of tables, each once: seed by seed, baselines first, then the cheapest.

    Args:
      requests: the tables.
      seeds: each is trained with every seed.
      only: names of rows; none: all.
    Raises:
      ValueError: a name of `only` is no row of these tables that is trained here.
    """
    jobs: dict[pathlib.Path, Job] = {}
    trained: dict[str, set[str]] = {}  # names of a row in lower case, by its name
    wanted = {name.casefold() for name in only}
    for request in requests:
        for source in request.sources:
            if not source.trained or (source.baseline and obstacle(source.baseline, request.base.data)):
                continue
            name = BASELINES[source.baseline].title if source.baseline else str(source.run)
            trained[name] = {name.casefold(), source.baseline or name.casefold()}
            for seed in seeds if not wanted or wanted & trained[name] else ():
                config = request.config(source, seed)
                assert config is not None
                label = name if len(seeds) == 1 else f"{name}, seed {seed}"
                job = jobs.get(config.folder) or Job(label, config, source.baseline, ())
                jobs[config.folder] = dataclasses.replace(job, tables=(*job.tables, request.stem))
    if unknown := [name for name in only if name.casefold() not in set().union(*trained.values())]:
        raise ValueError(f"only {', '.join(unknown)}: these tables train no such row; they train {', '.join(trained)}")
    return sorted(jobs.values(), key=lambda job: (job.config.seed, job.baseline is None, job.work))


class Durations:
    """Seconds of this machine's runs in a folder of tables, from which those of similar runs are estimated.

    They are kept in durations.json, and sum up over the calls that a run took.
    """

    def __init__(self, folder: pathlib.Path, finished: Sequence[Job] = ()) -> None:
        """Reads the folder's durations.json, and the durations of finished jobs that are not in it."""
        self._file = folder / DURATIONS
        self._known: dict[str, dict[str, Any]] = {}
        if self._file.is_file():
            self._known = read_kept(self._file, "json", REMEDY)
        for job in finished:
            key, report = (
                str(job.config.folder),
                read_kept(job.results, "json", "delete it, and the run is measured anew"),
            )
            if key not in self._known and report.get("seconds"):  # None of a run that was resumed
                self._known[key] = self._entry(job, report["seconds"])

    @staticmethod
    def _entry(job: Job, seconds: float) -> dict[str, Any]:
        return {"kind": job.kind, "work": job.work, "seconds": round(seconds, 1), "finished": job.finished}

    @contextlib.contextmanager
    def timed(self, job: Job) -> Iterator[None]:
        """Adds the time inside the block to the job's, also where it is left by an error or a signal."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(job, time.monotonic() - started)

    def add(self, job: Job, seconds: float) -> None:
        """Adds seconds to those that a job has taken."""
        key = str(job.config.folder)
        self._known[key] = self._entry(job, self._known.get(key, {}).get("seconds", 0.0) + seconds)
        write_whole(self._file, json.dumps(self._known, indent=1) + "\n")

    def estimate(self, job: Job) -> float | None:
        """Seconds that a job still takes, at the median rate of finished ones of its kind; None before there is one."""
        rates = [k["seconds"] / k["work"] for k in self._known.values() if k["finished"] and k["kind"] == job.kind]
        if not rates:
            return None
        spent = self._known.get(str(job.config.folder), {}).get("seconds", 0.0)
        return max(statistics.median(rates) * job.work - spent, 0.0)


def plan_lines(jobs: Sequence[Job], durations: Durations) -> list[str]:
    """The plan as lines of text: each job, how long it takes as far as that is known, and its tables."""
    if not jobs:
        return ["every run of these tables is finished"]
    estimates = [durations.estimate(job) for job in jobs]
    width = max(len(job.name) for job in jobs)
    are = "runs are" if len(jobs) > 1 else "run is"
    lines = [f"{len(jobs)} {are} missing; in this order, with about how long each takes:"]
    lines += [
        f"  {job.name.ljust(width)}  {'?' if seconds is None else clock(seconds):>8}  for {', '.join(job.tables)}"
        for job, seconds in zip(jobs, estimates, strict=True)
    ]
    known = sum(seconds for seconds in estimates if seconds is not None)
    unknown = sum(seconds is None for seconds in estimates)
    total = [f"about {clock(known)} in all"] if unknown < len(jobs) else []
    if unknown:
        total.append(f"? ({unknown}): not known before a run of its kind has finished on this machine")
    return [*lines, "; ".join(total)]


def parse_duration(text: str) -> float:
    """Seconds of a duration: "2h", "90m", "1h30m", "45s", or a number of seconds.

    Raises:
      ValueError: it is none of these, or not above 0.
    """
    number = r"(\d+(?:\.\d+)?)"
    parts = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip().lower())
    seconds = sum(float(n) * unit for n, unit in zip(parts.groups(), UNITS, strict=True) if n) if parts else 0.0
    if seconds <= 0:
        raise ValueError(f"budget {text!r} is no duration above 0; write it as 2h, 90m, 1h30m or 45s")
    return seconds
