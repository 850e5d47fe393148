"""Reads the results of a finished run or baseline, and single figures of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.config import Config, ModelConfig, from_dict, to_json
from jaxrec.evaluate.ranking import metrics
from jaxrec.files import read_kept
from jaxrec.hub.registry import backbone
from jaxrec.system.system import LISTED

REMEDY = "put it back, or run the study again after deleting it"


@dataclasses.dataclass(frozen=True)
class RunResults:
    """Results of one run and seed.

    Attributes:
      report: the content of results.json.
      ranks: f32[U] by system.
      list_length: length of its recommendation lists; None if every item is scored.
      setting: a short description of its model and training.
      doubts: possible differences between the run and the study's config.
    """

    report: dict[str, Any]
    ranks: dict[str, np.ndarray]
    list_length: int | None
    setting: str
    doubts: tuple[str, ...] = ()

    @property
    def main(self) -> str | None:
        """The run's first row, the model on its first task; None if it ranks nothing."""
        rows = self.report["rows"]
        return rows[0]["system"] if rows and not rows[0].get("baseline") else None

    @property
    def baselines(self) -> list[str]:
        """Names of the rows of baselines."""
        return [row["system"] for row in self.report["rows"] if row.get("baseline") and row["system"] in self.ranks]

    def value(self, measure: str, system: str = "") -> float | str:
        """One figure, or the reason why there is none.

        Args:
          measure: as in `Layout.measures`.
          system: as in `Source.system`.
        """
        if measure == "ms" or measure.startswith(("ms ", "ms/")):
            return self._milliseconds(measure.removeprefix("ms"))
        if "/" in measure:
            task, metric = measure.split("/")
            row = self.text_row(task)
            return row[metric] if row and metric in row else f"the run was not measured on {task}"
        metric, _, users = measure.partition(", ")
        if self.main is None:
            return "the run ranks nothing"
        name = self.main + system + (f", {users}" if users else "")
        if name not in self.ranks:
            return f"the run has no row {(system + ', ' + users).strip(', ') or 'of its own'!r}"
        return self.metric(name, metric)

    def metric(self, name: str, metric: str) -> float | str:
        """A ranking metric of the system with this full name, or the reason why it is unknown."""
        k = int(metric.partition("@")[2])
        if self.list_length is not None and name not in self.baselines and k > self.list_length:
            return f"its lists hold {self.list_length} items, so that @{k} is not known"
        return metrics(self.ranks[name], (k,))[metric]

    def n_users(self, measure: str, system: str = "") -> int | None:
        """Number of users or events behind a figure of `value`."""
        if "/" in measure:
            row = self.text_row(measure.removeprefix("ms/").split("/")[0])
            return row["n"] if row else None
        users = measure.partition(", ")[2]
        name = (self.main or "") + system + (f", {users}" if users else "")
        return int((~np.isnan(self.ranks[name])).sum()) if name in self.ranks else None

    @property
    def greedy_rmse(self) -> float | None:
        """RMSE of the most likely star rating, as in greedy decoding; the model's main row uses the expected rating."""
        rows = (self.report.get("texts") or {}).get("rows", ())
        greedy = [r for r in rows if r["task"] == "rating" and r["system"].endswith(", most likely")]
        return greedy[0]["rmse"] if greedy else None

    def _milliseconds(self, suffix: str) -> float | str:
        if suffix.startswith("/"):
            row = self.text_row(suffix[1:])
            return row["ms"] if row else f"the run was not measured on {suffix[1:]}"
        if not suffix:
            return self.report.get("ms_per_user") or "the run has no time of a list of ten"
        if any(r["system"] == (self.main or "") + suffix for r in self.report["rows"]):
            task = "direct" if suffix == " (user id only)" else suffix.strip(" ()")
            return self.report.get("ms_by_task", {}).get(task) or f"the run has no time of task {task!r}"
        return f"the run has no row {suffix.strip()!r}"

    def text_row(self, task: str) -> dict[str, Any] | None:
        """The model's row of a rating or text task, or None."""
        rows = (self.report.get("texts") or {}).get("rows", ())
        return next((r for r in rows if r["task"] == task and not r.get("baseline")), None)


def read_run(folder: pathlib.Path, config: Config | None) -> RunResults | str | None:
    """A run's results.

    Args:
      folder: the run's folder.
      config: the study's config, which the folder's must equal; None accepts any.
    Returns:
      the results; the reason why they are not this study's; or None if there are none yet.
    """
    if not (folder / "results.json").is_file() or not (folder / "config.json").is_file():
        return None
    run_config = read_kept(folder / "config.json", "json", REMEDY)
    doubts: tuple[str, ...] = ()
    if config is not None:
        expected, actual = (flatten_dict(c, sep=".") for c in (json.loads(to_json(config)), run_config))
        differing = sorted(n for n in set(expected) & set(actual) - {"out"} if expected[n] != actual[n])
        if differing:
            return f"its folder holds a run of another config ({', '.join(differing)} differ)"
        if set(expected) != set(actual):
            doubts = ("its folder was left by another version of jaxrec",)
    list_length = run_config["eval"]["beams"] if run_config["answer"] != "vector" else LISTED
    return _read(folder, list_length, setting_text(run_config), doubts)


def read_baseline(folder: pathlib.Path, config: Config) -> RunResults | str | None:
    """A baseline's results, as `read_run`; only data, seed, protocol and mask_seen of the configs must be equal."""
    if not (folder / "test" / "results.json").is_file() or not (folder / "config.json").is_file():
        return None
    expected, actual = (
        flatten_dict(c, sep=".")
        for c in (json.loads(to_json(config)), read_kept(folder / "config.json", "json", REMEDY))
    )
    compared_fields = [n for n in expected if n.startswith("data.") or n in ("seed", "protocol", "eval.mask_seen")]
    if differing := sorted(n for n in compared_fields if n in actual and expected[n] != actual[n]):
        return f"its folder holds a run on other data ({', '.join(differing)} differ)"
    results = _read(folder / "test", None, "", ())
    settings = results.report["settings"]
    return dataclasses.replace(results, setting=f"width {settings['dim']}, at most {settings['epochs']:g} epochs")


def setting_text(config: dict[str, Any]) -> str:
    """A short description of model and training from a run's config.json."""
    model, train = config["model"], config["train"]
    record = backbone(model["backbone"])
    shape = record.shape(from_dict(ModelConfig, model))
    weights = f"weights of {pathlib.Path(model['init_from']).name}" if model["init_from"] else "random weights at first"
    epochs = f"{train['epochs']:g} epoch{'s' if train['epochs'] != 1 else ''}"
    duration = epochs if train["steps"] is None else f"{train['steps']} steps"
    beams = f", {config['eval']['beams']} beams" if config["answer"] != "vector" else ""
    return f"{record.label} of {record.depth(shape)} layers, width {shape.d_model}, {weights}, {duration}{beams}"


def _read(folder: pathlib.Path, list_length: int | None, setting: str, doubts: tuple[str, ...]) -> RunResults:
    ranks = {}
    if (folder / "ranks.npz").is_file():
        ranks = read_kept(folder / "ranks.npz", "npz", REMEDY)
    return RunResults(read_kept(folder / "results.json", "json", REMEDY), ranks, list_length, setting, doubts)
