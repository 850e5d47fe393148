"""Metric inflation by the leak in the papers' released code: a study under the strict and the as-released protocol."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from jaxrec.config import Config
from jaxrec.embedders.registry import embedder
from jaxrec.evaluate.bootstrap import LEVEL, paired_bootstrap
from jaxrec.evaluate.results_file import COMPARED
from jaxrec.files import write_whole
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.comparison import Comparison
from jaxrec.studies.over_seeds import user_values_over_seeds
from jaxrec.studies.run_folders import run_folder
from jaxrec.studies.workers import IN_TURN, Workers
from jaxrec.system import run as runs
from jaxrec.system.run import command
from jaxrec.system.system import method_name


@dataclasses.dataclass(frozen=True)
class InflationRow:
    """One metric of one system under both protocols.

    Attributes:
      system: a row of the study, or an embedder's own ranking.
      metric: "hr@10" or "ndcg@10".
      strict: its value under the strict protocol.
      as_released: its value with the leak.
      inflation: as_released / strict - 1; None where strict is 0.
      difference: as_released - strict.
      low: lower end of the difference's interval, a bootstrap paired by users.
      high: upper end.
      n_users: number of users evaluated under both protocols.
    """

    system: str
    metric: str
    strict: float
    as_released: float
    inflation: float | None
    difference: float
    low: float
    high: float
    n_users: int

    def __str__(self) -> str:
        added = "from nothing" if self.inflation is None else f"inflation {self.inflation:+.1%}"
        return (
            f"as-released / strict, {self.system}: {self.metric.upper()} {self.strict:.4f} -> "
            f"{self.as_released:.4f} ({added}), difference {self.difference:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}], {LEVEL:.0%} paired bootstrap over {self.n_users:,} users"
        )

    def to_dict(self) -> dict[str, Any]:
        """The row as inflation.json holds it."""
        return {"as-released" if name == "as_released" else name: v for name, v in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True, repr=False)
class Inflation:
    """A study under both protocols; `str()` gives a line for each main row and metric.

    Attributes:
      command: the command line that made it.
      strict: the study's table under the strict protocol.
      as_released: the same with the leak.
      rows: the inflation of each metric.
    """

    command: str
    strict: Comparison
    as_released: Comparison
    rows: tuple[InflationRow, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))

    __repr__ = __str__

    def to_frame(self) -> pl.DataFrame:
        """A row for each system and metric, with the columns of `InflationRow`."""
        return pl.DataFrame([dataclasses.asdict(row) for row in self.rows])

    def to_json(self) -> str:
        """The text of inflation.json; `from_json` reads it."""
        tables = {"strict": self.strict.to_dict(), "as-released": self.as_released.to_dict()}
        rows = [row.to_dict() for row in self.rows]
        return json.dumps({"command": self.command, **tables, "inflation": rows}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Inflation:
        """Reads what `to_json` wrote."""
        table = json.loads(text)
        strict, as_released = (Comparison.from_dict(table[protocol]) for protocol in ("strict", "as-released"))
        rows = [{name.replace("-", "_"): value for name, value in row.items()} for row in table["inflation"]]
        return cls(table["command"], strict, as_released, tuple(InflationRow(**row) for row in rows))


def compare_protocols(
    study: Mapping[str, Config], seeds: Sequence[int], folder: pathlib.Path, workers: Workers = IN_TURN
) -> Inflation:
    """Compares a study's configs under the strict and the as-released protocol, and measures the inflation.

    Args:
      study: configs by the names of their rows; their protocol is replaced.
      seeds: each config is run with each, under both protocols.
      folder: gets the folders strict/ and as-released/, each as `compare_configs` leaves it, and inflation.json.
      workers: how many runs are trained at a time, and where.
    Raises:
      ValueError: a config can't be run under both.
    """
    by_protocol = {
        protocol: {name: dataclasses.replace(config, protocol=protocol) for name, config in study.items()}
        for protocol in ("strict", "as-released")
    }
    for configs in by_protocol.values():  # before hours of training
        for config in configs.values():
            runs.check_run(dataclasses.replace(config, out=str(folder / "none")))
    strict, as_released = (
        compare_configs(configs, seeds, folder / protocol, workers) for protocol, configs in by_protocol.items()
    )
    systems = {name: (name, method_name(config)) for name, config in study.items()}
    # An embedder's own ranking is a row as well: the leak is in its training events.
    embedders = {name: embedder(config.embedder) for name, config in study.items()}
    systems |= {record.title: (name, record.title) for name, record in embedders.items() if record.ranks}
    rows = []
    for system, (name, system_in_run) in systems.items():
        own_users = study[name].data.path is None  # each seed generates a world
        values = [
            user_values_over_seeds(
                [(run_folder(folder / protocol, name, seed), system_in_run) for seed in seeds], own_users
            )
            for protocol in by_protocol
        ]
        rows += _inflation_rows(system, *values)
    inflation = Inflation(command(), strict, as_released, tuple(rows))
    write_whole(folder / "inflation.json", inflation.to_json())
    return inflation


def _inflation_rows(
    system: str, strict: dict[str, np.ndarray] | None, released: dict[str, np.ndarray] | None
) -> list[InflationRow]:
    """A row per metric from the users' contributions f64[U]; none if one protocol's ranks are missing."""
    if not strict or not released:
        return []
    rows = []
    for metric in COMPARED:
        before, after = float(np.nanmean(strict[metric])), float(np.nanmean(released[metric]))
        interval = dataclasses.asdict(paired_bootstrap(released[metric], strict[metric]))
        rows.append(InflationRow(system, metric, before, after, after / before - 1 if before else None, **interval))
    return rows
