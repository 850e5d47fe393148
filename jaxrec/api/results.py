"""Results of one run: a row for each system, printed as the command line prints them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import polars as pl

from jaxrec.api.display import html_table
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.evaluate.text_results import METRICS as TEXT_METRICS
from jaxrec.system.measuring import report_lines

RANKING_METRICS = tuple(f"{metric}@{k}" for k in CUTOFFS for metric in ("hr", "ndcg", "mrr"))


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """One system's metrics.

    Attributes:
      system: its name; the run's own comes first, then baselines.
      task: what was predicted: "ranking", or a task that writes, such as "rating".
      metrics: by name: "hr@10", "ndcg@10", ... in [0, 1]; "rmse", "mae" in stars; "bleu-4", "rouge-l", ... in percent.
      n: users that were ranked for, or events that were answered.
      baseline: whether it is one.
    """

    system: str
    task: str
    metrics: Mapping[str, float]
    n: int
    baseline: bool


class Results:
    """What a run and its baselines reached on one part of the data; prints as a table at a prompt and in a notebook.

    Attributes:
      rows: one a system and task, in the order of the table.
      dataset, protocol, part, seed: what was measured; part is "valid" or "test".
      ms_per_user: milliseconds that a list of ten takes; None where nothing is ranked.
      seconds: duration of training and measuring; None where a later call went on with the run.
      note: a line about how it was measured, "" for none.
    """

    def __init__(self, report: Mapping[str, Any], note: str = "") -> None:
        self._report = dict(report)
        self.note = note
        self.dataset: str = report["dataset"]
        self.protocol: str = report["protocol"]
        self.part: str = report["part"]
        self.seed: int = report["seed"]
        self.ms_per_user: float | None = report.get("ms_per_user")
        self.seconds: float | None = report.get("seconds")
        ranking = [
            ResultRow(row["system"], "ranking", _some(row, RANKING_METRICS), row["n_users"], bool(row.get("baseline")))
            for row in report["rows"]
        ]
        writing = [
            ResultRow(row["system"], row["task"], _some(row, TEXT_METRICS), row["n"], bool(row["baseline"]))
            for row in report.get("texts", {}).get("rows", ())
        ]
        self.rows: tuple[ResultRow, ...] = (*ranking, *writing)

    @classmethod
    def read(cls, file: pathlib.Path) -> Results:
        """Of a results.json.

        Raises:
          ValueError: it is not there.
        """
        if not file.is_file():
            raise ValueError(f"{file.parent} is not measured yet (no results.json); jaxrec.train(...) finishes the run")
        return cls(json.loads(file.read_text()))

    def row(self, system: str, task: str = "ranking") -> ResultRow:
        """The row of a system.

        Raises:
          ValueError: there is none; names those there are.
        """
        for row in self.rows:
            if (row.system, row.task) == (system, task):
                return row
        names = ", ".join(f"{row.system} ({row.task})" for row in self.rows)
        raise ValueError(f"system {system!r} has no row for task {task!r}; there are: {names}")

    def to_frame(self) -> pl.DataFrame:
        """A row a system and task: "system", "task", a column for each metric that some row has, "n", "baseline"."""
        names = [m for m in (*RANKING_METRICS, *TEXT_METRICS) if any(m in row.metrics for row in self.rows)]
        schema = {"system": pl.String, "task": pl.String, **dict.fromkeys(names, pl.Float64)}
        values = [
            [row.system, row.task, *(row.metrics.get(name) for name in names), row.n, row.baseline] for row in self.rows
        ]
        return pl.DataFrame(values, schema=schema | {"n": pl.Int64, "baseline": pl.Boolean}, orient="row")

    def to_dict(self) -> dict[str, Any]:
        """All that results.json holds, with intervals, versions and device."""
        return dict(self._report)

    def __repr__(self) -> str:
        table = report_lines(self._report)
        return f"{table}\n{self.note}" if self.note else table

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        caption = f"{self.dataset}, {self.protocol} protocol, {self.part} part, seed {self.seed}"
        return html_table(frame.columns, frame.rows(), caption)


def _some(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float]:
    return {name: row[name] for name in names if row.get(name) is not None}
