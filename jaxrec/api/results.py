"""Results of a run: metrics of each system, printed as on the command line."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import polars as pl

from jaxrec.api.display import html_table
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.evaluate.text_results import METRICS as TEXT_METRICS
from jaxrec.files import read_kept
from jaxrec.system.measuring import report_lines
from jaxrec.types import DataError

RANKING_METRICS = tuple(f"{metric}@{k}" for k in CUTOFFS for metric in ("hr", "ndcg", "mrr"))


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """One system's metrics.

    Attributes:
      system: its name; the run comes first, then baselines.
      task: "ranking", or a text task, such as "rating".
      metrics: by name: "hr@10", "ndcg@10", ... in [0, 1]; "rmse", "mae" in stars; "bleu-4", "rouge-l", ... in percent.
      n: number of evaluated users ("ranking") or events (text tasks).
      baseline: whether the system is a baseline.
    """

    system: str
    task: str
    metrics: Mapping[str, float]
    n: int
    baseline: bool


class Results:
    """Metrics of a run and its baselines on one part of the data; prints as a table.

    Attributes:
      rows: one per system and task, in the order of the table.
      dataset, protocol, part, seed: of the evaluation; part is "valid" or "test".
      ms_per_user: milliseconds per user for a list of ten; None where no task ranks items.
      seconds: duration of training and evaluation; None where it is not known, as of a resumed run.
      note: a line that compares beam search with exact scoring, "" for none.
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
            ResultRow(
                row["system"], "ranking", _present(row, RANKING_METRICS), row["n_users"], bool(row.get("baseline"))
            )
            for row in report["rows"]
        ]
        writing = [
            ResultRow(row["system"], row["task"], _present(row, TEXT_METRICS), row["n"], bool(row["baseline"]))
            for row in report.get("texts", {}).get("rows", ())
        ]
        self.rows: tuple[ResultRow, ...] = (*ranking, *writing)

    @classmethod
    def read(cls, file: pathlib.Path) -> Results:
        """The results in a results.json.

        Raises:
          ValueError: the file does not exist, or is damaged.
        """
        if not file.is_file():
            raise ValueError(f"{file.parent} is not measured yet (no results.json); jaxrec.train(...) finishes the run")
        remedy = "delete it, and jaxrec.train(...) of the same config measures anew"
        content = read_kept(file, "json", remedy)
        try:
            return cls(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} holds no results ({type(error).__name__}: {error}); {remedy}") from error

    def row(self, system: str, task: str = "ranking") -> ResultRow:
        """The row of a system and task.

        Raises:
          ValueError: there is no such row; the message lists all rows.
        """
        for row in self.rows:
            if (row.system, row.task) == (system, task):
                return row
        names = ", ".join(f"{row.system} ({row.task})" for row in self.rows)
        raise ValueError(f"system {system!r} has no row for task {task!r}; there are: {names}")

    def to_frame(self) -> pl.DataFrame:
        """A row per system and task: "system", "task", a column per metric that any row has, "n", "baseline"."""
        names = [m for m in (*RANKING_METRICS, *TEXT_METRICS) if any(m in row.metrics for row in self.rows)]
        schema = {"system": pl.String, "task": pl.String, **dict.fromkeys(names, pl.Float64)}
        rows = [
            [row.system, row.task, *(row.metrics.get(name) for name in names), row.n, row.baseline] for row in self.rows
        ]
        return pl.DataFrame(rows, schema=schema | {"n": pl.Int64, "baseline": pl.Boolean}, orient="row")

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json, with confidence intervals, versions and device."""
        return dict(self._report)

    def __repr__(self) -> str:
        table = report_lines(self._report)
        return f"{table}\n{self.note}" if self.note else table

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        caption = f"{self.dataset}, {self.protocol} protocol, {self.part} part, seed {self.seed}"
        return html_table(frame.columns, frame.rows(), caption)


def _present(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float]:
    return {name: row[name] for name in names if row.get(name) is not None}
