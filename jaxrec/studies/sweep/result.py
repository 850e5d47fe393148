"""The result of a sweep: all settings with their validation metric, the best one, and the test table."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping
from typing import Any

import polars as pl

from jaxrec.report.sweep_page import sweep_page
from jaxrec.studies.comparison import TABLE_METRICS, Comparison, mean_and_deviation


@dataclasses.dataclass(frozen=True)
class SettingRow:
    """A setting and its validation metric.

    Attributes:
      name: of its row and of the folders of its runs.
      settings: values by the dotted names of fields.
      validation: the best validation metric of each seed's run; None if a loss was not finite.
    """

    name: str
    settings: Mapping[str, Any]
    validation: tuple[float | None, ...]

    @property
    def diverged(self) -> bool:
        """Whether some seed's loss was not finite."""
        return None in self.validation

    @property
    def text(self) -> str:
        """Mean and, of several seeds, standard deviation."""
        return "diverged" if self.diverged else mean_and_deviation(self.validation)

    @property
    def mean(self) -> float:
        """Mean over the seeds; minus infinity where the setting diverged."""
        values = [value for value in self.validation if value is not None]
        return float("-inf") if self.diverged else statistics.mean(values)


@dataclasses.dataclass(frozen=True, repr=False)
class SweepResult:
    """Settings compared on the validation items; `str()` shows them, best first.

    Attributes:
      command: the command line that made it.
      seeds: the seeds of every setting.
      metric: that of the validation, "ndcg@10".
      rows: all settings, best first.
      chosen: name of the best.
      test: the chosen setting, or all that did not diverge, on the test items.
    """

    command: str
    seeds: tuple[int, ...]
    metric: str
    rows: tuple[SettingRow, ...]
    chosen: str
    test: Comparison

    def __str__(self) -> str:
        fields, seeds = list(self.rows[0].settings), ", ".join(map(str, self.seeds))
        head = f"{self.test.dataset}, {self.test.protocol} protocol, seeds {seeds}: chosen on the validation items"
        table = [[*fields, f"{self.metric.upper()} (valid)"]]
        for row in self.rows:
            table.append([*(str(row.settings[field]) for field in fields), row.text])
        widths = [max(len(cells[column]) for cells in table) for column in range(len(fields) + 1)]
        lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths)) for cells in table]
        lines[1] += "  <- chosen"
        return "\n".join([head, *lines])

    __repr__ = __str__

    def to_frame(self) -> pl.DataFrame:
        """A row for each setting and seed: a column of text for each field, "seed" and the validation metric."""
        columns = {field: pl.String for field in self.rows[0].settings}
        values = [
            [*map(str, row.settings.values()), seed, value]
            for row in self.rows
            for seed, value in zip(self.seeds, row.validation, strict=True)
        ]
        return pl.DataFrame(values, schema={**columns, "seed": pl.Int64, self.metric: pl.Float64}, orient="row")

    def to_json(self) -> str:
        """The text of sweep.json; `from_json` reads it."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["rows"] = [dataclasses.asdict(row) for row in self.rows]
        return json.dumps(fields | {"test": self.test.to_dict()}, indent=1) + "\n"

    def to_html(self) -> str:
        """The text of sweep.html, a page with a picture for each field."""
        seeds = ", ".join(map(str, self.seeds))
        return sweep_page(
            f"{self.test.dataset}, {self.test.protocol} protocol, seeds {seeds}",
            [row.settings for row in self.rows],
            [row.mean for row in self.rows],
            [row.text for row in self.rows],
            metric=self.metric.upper(),
            test=[
                (row.system, [mean_and_deviation(row.metrics[metric]) for metric in TABLE_METRICS])
                for row in self.test.rows
            ],
            test_columns=[metric.upper() for metric in TABLE_METRICS],
            command=self.command,
        )

    @classmethod
    def from_json(cls, text: str) -> SweepResult:
        """Reads what `to_json` wrote; tuples in settings become lists."""
        table = json.loads(text)
        rows = tuple(SettingRow(row["name"], row["settings"], tuple(row["validation"])) for row in table["rows"])
        test = Comparison.from_dict(table["test"])
        return cls(table["command"], tuple(table["seeds"]), table["metric"], rows, table["chosen"], test)
