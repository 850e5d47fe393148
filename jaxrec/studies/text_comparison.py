"""The part of a comparison for the rating and text tasks."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.evaluate.text_results import METRICS


@dataclasses.dataclass(frozen=True)
class TextRow:
    """A system's metrics on one task of ratings or texts, seed by seed.

    Attributes:
      task: "rating", "explanation", "review" or "preference".
      system: its name.
      baseline: whether it is one of the baselines.
      taught: number of training events.
      seeds: one for each value of the tuples below.
      metrics: by name, those that the task has.
      n: number of test events.
      ms: milliseconds per event; empty if not timed.
    """

    task: str
    system: str
    baseline: bool
    taught: int
    seeds: tuple[int, ...]
    metrics: Mapping[str, tuple[float, ...]]
    n: tuple[int, ...]
    ms: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The row as results.json holds it."""
        about = {"task": self.task, "system": self.system, "baseline": self.baseline, "taught": self.taught}
        times = {"ms": self.ms} if self.ms else {}
        return about | {"seeds": self.seeds, **self.metrics, "n": self.n, **times}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> TextRow:
        """Reads what `to_dict` wrote."""
        return cls(
            task=row["task"],
            system=row["system"],
            baseline=row["baseline"],
            taught=row["taught"],
            seeds=tuple(row["seeds"]),
            metrics={metric: tuple(row[metric]) for metric in METRICS if metric in row},
            n=tuple(row["n"]),
            ms=tuple(row.get("ms", ())),
        )


class TextRowCollector:
    """Gathers the rows of runs one by one, joined over seeds."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, report: Mapping[str, Any], name: str, method: str, seed: int) -> None:
        """Adds a run's rows.

        Args:
          report: the run's results.json.
          name: the run's name in the study.
          method: the method's name in the run's rows, which `name` replaces.
          seed: of the run.
        """
        texts = report.get("texts", {"rows": []})
        for row in texts["rows"]:
            task, system, taught = row["task"], row["system"], texts["events"]["train"]
            if not row["baseline"]:
                system = name + system.removeprefix(method)
            elif (existing := self._rows.get((task, system))) and existing["taught"] != taught:
                system = f"{system} [{name}]"  # leave-one-out withholds events, so the training events differ
            about = {"task": task, "system": system, "baseline": row["baseline"], "taught": taught, "seeds": []}
            joined = self._rows.setdefault((task, system), about)
            if seed in joined["seeds"]:
                continue
            joined["seeds"].append(seed)
            for column in (*METRICS, "n", "ms"):
                if column in row:
                    joined.setdefault(column, []).append(row[column])

    def rows(self) -> tuple[TextRow, ...]:
        """All rows, in the order their systems were first added."""
        return tuple(TextRow.from_dict(row) for row in self._rows.values())


def text_lines(rows: Sequence[TextRow]) -> list[str]:
    """Aligned lines, task by task; mean and, over several seeds, standard deviation."""
    lines: list[str] = []
    for task in dict.fromkeys(row.task for row in rows):
        of_task = sorted((row for row in rows if row.task == task), key=lambda row: row.baseline)
        columns = [metric for metric in METRICS if metric in of_task[0].metrics]
        width = max(len(task), *(len(row.system) for row in of_task))
        lines += ["", f"{task:<{width}}" + "".join(f"{m.upper():>18}" for m in columns) + f"{'events':>9}"]
        for row in of_task:
            cells = "".join(f"{_mean_and_deviation(row.metrics[metric], metric):>18}" for metric in columns)
            lines.append(f"{row.system:<{width}}{cells}{max(row.n):>9,}")
    return lines


def _mean_and_deviation(values: Sequence[float], metric: str) -> str:
    digits = 4 if metric in ("rmse", "mae") else 2
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"
