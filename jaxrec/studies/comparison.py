"""A table of several runs: rows, intervals and runs, and their conversion to text, data frame and JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.evaluate.results_table import notes_below_table
from jaxrec.files import read_kept
from jaxrec.studies.text_comparison import TextRow, text_lines

TABLE_METRICS = tuple(f"{metric}@{k}" for k in CUTOFFS if k > 5 for metric in ("hr", "ndcg"))
"""Metric columns of a comparison, left to right."""


@dataclasses.dataclass(frozen=True)
class ComparisonRow:
    """A system's ranking metrics, seed by seed.

    Attributes:
      system: its name.
      seeds: one for each value of the tuples below.
      metrics: values by `TABLE_METRICS`; None where the system's lists end before the cutoff.
      n_users: number of evaluated users.
      ties: metrics under the orders of tied items, as in `jaxrec.evaluate.full_ranking.Result.row`; None where ties
        change nothing.
    """

    system: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, tuple[float | None, ...]]
    n_users: tuple[int, ...]
    ties: tuple[Mapping[str, Any] | None, ...]

    def mean(self, metric: str) -> float | None:
        """Mean over the seeds; None if the metric is unknown."""
        values = [value for value in self.metrics[metric] if value is not None]
        return statistics.mean(values) if values else None

    def to_dict(self) -> dict[str, Any]:
        """The row as results.json holds it."""
        return {
            "system": self.system,
            "seeds": self.seeds,
            **self.metrics,
            "n_users": self.n_users,
            "ties": self.ties,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> ComparisonRow:
        """Reads what `to_dict` wrote."""
        ties = row.get("ties") or [None] * len(row["seeds"])
        metrics = {metric: tuple(row[metric]) for metric in TABLE_METRICS}
        return cls(row["system"], tuple(row["seeds"]), metrics, tuple(row["n_users"]), tuple(ties))


@dataclasses.dataclass(frozen=True)
class PairedInterval:
    """Difference of a system and a baseline in one metric, with the interval of a paired bootstrap."""

    system: str
    baseline: str
    metric: str
    difference: float
    low: float
    high: float
    n_users: int


@dataclasses.dataclass(frozen=True)
class MethodRun:
    """One training of a config.

    Attributes:
      seed: the run's seed.
      seconds: duration of training and evaluation; None if the run was resumed.
      ms_per_user: median time of a list of ten; None where it was not measured.
      ids: the report of its ids (ids.json); None where an old run has none.
    """

    seed: int
    seconds: float | None
    ms_per_user: float | None
    ids: Any


@dataclasses.dataclass(frozen=True)
class BaselineRun:
    """One training of a baseline.

    Attributes:
      seed: the run's seed.
      seconds: duration of training and evaluation; None if the run was resumed.
      ms_per_user: always None, as baselines are not timed.
      validation: metrics of the validation items, by which the weights were selected.
      settings: the settings of the baseline.
    """

    seed: int
    seconds: float | None
    ms_per_user: float | None
    validation: Mapping[str, float]
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """Several systems on the same data; `str()` and a notebook show the table.

    Attributes:
      command: the command line that made it.
      seeds: the seeds of every run.
      dataset: name of the data.
      protocol: "strict" or "as-released".
      part: "valid" or "test".
      n_items: number of ranked items.
      mask_seen: whether the items of the history were left out of the ranking.
      device: the device of the computation.
      versions: of jax, jaxrec and Python.
      rows: ranking metrics, in the order of the table.
      intervals: of the difference between systems and the best baseline on the same data.
      runs: by row, one per seed.
      texts: metrics of ratings and texts, where a run predicts them.
      declined: seeds with which a row "..., re-ranked" has its blend's own order, by row.
    """

    command: str
    seeds: tuple[int, ...]
    dataset: str
    protocol: str
    part: str
    n_items: int
    mask_seen: bool
    device: str
    versions: Mapping[str, str]
    rows: tuple[ComparisonRow, ...]
    intervals: tuple[PairedInterval, ...]
    runs: Mapping[str, tuple[MethodRun | BaselineRun, ...]]
    texts: tuple[TextRow, ...] = ()
    declined: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def row(self, system: str) -> ComparisonRow:
        """The row of a system.

        Raises:
          ValueError: there is no such row; the message lists all.
        """
        for row in self.rows:
            if row.system == system:
                return row
        raise ValueError(f"system {system!r} has no row; there are: {', '.join(row.system for row in self.rows)}")

    def __str__(self) -> str:
        """Aligned lines: the mean over the seeds and, of several, the standard deviation."""
        masked = "seen items left out" if self.mask_seen else "seen items kept"
        head = f"{self.dataset}, {self.protocol} protocol, {self.part} part, seeds {', '.join(map(str, self.seeds))}"
        if not self.rows:
            return "\n".join([head, *text_lines(self.texts)])
        lines = [f"{head}: all {self.n_items:,} items ranked, {masked}, ties count half"]
        width = max(len("system"), *(len(row.system) for row in self.rows))
        lines.append(f"{'system':<{width}}" + "".join(f"{m.upper():>16}" for m in TABLE_METRICS) + f"{'users':>9}")
        for row in self.rows:
            cells = "".join(f"{mean_and_deviation(row.metrics[metric]):>16}" for metric in TABLE_METRICS)
            lines.append(f"{row.system:<{width}}{cells}{max(row.n_users):>9,}")
        for system, seeds in self.declined.items():
            which = "no seed" if len(seeds) == len(self.seeds) else f"all seeds but {', '.join(map(str, seeds))}"
            lines.append(f"{system}: re-ranked with {which}; where not, cross-validation found nothing better")
        for name, runs in self.runs.items():
            if times := [run.ms_per_user for run in runs if run.ms_per_user]:
                lines.append(f"{name}: {statistics.median(times):.2f} ms per user for a list of ten")
        ties = [{"system": row.system, "ties": _mean_ties(row.ties)} for row in self.rows]
        return "\n".join(
            [*lines, *notes_below_table(ties, [dataclasses.asdict(i) for i in self.intervals]), *text_lines(self.texts)]
        )

    __repr__ = __str__

    def to_frame(self) -> pl.DataFrame:
        """A row for each system and seed: "system", "seed", `TABLE_METRICS`, "n_users"."""
        columns = {"system": pl.String, "seed": pl.Int64, **dict.fromkeys(TABLE_METRICS, pl.Float64)}
        values = [
            [row.system, seed, *(row.metrics[metric][n] for metric in TABLE_METRICS), row.n_users[n]]
            for row in self.rows
            for n, seed in enumerate(row.seeds)
        ]
        return pl.DataFrame(values, schema=columns | {"n_users": pl.Int64}, orient="row")

    def to_dict(self) -> dict[str, Any]:
        """The table as results.json holds it, in plain lists and dictionaries."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["rows"] = [row.to_dict() for row in self.rows]
        fields["intervals"] = [dataclasses.asdict(interval) for interval in self.intervals]
        fields["runs"] = {name: [dataclasses.asdict(run) for run in runs] for name, runs in self.runs.items()}
        fields["texts"] = [row.to_dict() for row in self.texts]
        for name in ("texts", "declined"):
            if not fields[name]:
                del fields[name]
        return json.loads(json.dumps(fields))

    def to_json(self) -> str:
        """The text of results.json; `from_json` reads it."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Comparison:
        """Reads what `to_dict` wrote."""
        return cls(
            **{field.name: table[field.name] for field in dataclasses.fields(cls) if field.name in table}
            | {
                "seeds": tuple(table["seeds"]),
                "rows": tuple(ComparisonRow.from_dict(row) for row in table["rows"]),
                "intervals": tuple(PairedInterval(**interval) for interval in table.get("intervals", ())),
                "runs": {name: tuple(_run(run) for run in runs) for name, runs in table["runs"].items()},
                "texts": tuple(TextRow.from_dict(row) for row in table.get("texts", ())),
                "declined": {name: tuple(seeds) for name, seeds in table.get("declined", {}).items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Reads what `to_json` wrote."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> Comparison:
        """Reads the results.json of a study.

        Raises:
          ValueError: the file does not exist, or holds no comparison.
        """
        file = pathlib.Path(file)
        if not file.is_file():
            raise ValueError(f"{file} is not there; make it with python -m launch.compare")
        table = read_kept(file, "json", "make it again with python -m launch.compare")
        if not {"seeds", "rows", "runs"} <= set(table):
            raise ValueError(f"{file} holds no comparison; give the results.json beside the folders of the runs")
        return cls.from_dict(table)


def mean_and_deviation(values: Sequence[float | None]) -> str:
    """Mean and, for several values, standard deviation; ignores None, "-" if no value remains."""
    numbers = [value for value in values if value is not None]  # lists from few beams end before the cutoff
    if not numbers:
        return "-"
    mean = statistics.mean(numbers)
    return f"{mean:.4f}" if len(numbers) < 2 else f"{mean:.4f} ± {statistics.stdev(numbers):.4f}"


def _run(run: Mapping[str, Any]) -> MethodRun | BaselineRun:
    if "validation" in run:
        return BaselineRun(run["seed"], run["seconds"], run["ms_per_user"], run["validation"], run["settings"])
    return MethodRun(run["seed"], run["seconds"], run["ms_per_user"], run.get("ids"))


def _mean_ties(ties: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The mean of each number over the seeds; None if ties change nothing with some seed."""
    by_seed = [seed_ties for seed_ties in ties if seed_ties]
    if len(by_seed) < len(ties):
        return None
    mean: dict[str, Any] = {"share": statistics.mean(seed_ties["share"] for seed_ties in by_seed)}
    for order in ("optimistic", "expected", "pessimistic"):
        mean[order] = {m: statistics.mean(seed_ties[order][m] for seed_ties in by_seed) for m in by_seed[0][order]}
    return mean
