"""What a finished run or baseline has in its folder, and one figure of it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.config import Config, to_json
from jaxrec.evaluate.ranking import metrics
from jaxrec.system.system import LISTED


@dataclasses.dataclass(frozen=True)
class Finished:
    """Results of one run and seed.

    Attributes:
      found: what results.json holds.
      ranks: f32[U] by system.
      listed: how many items a list of it holds; None where every item is scored.
      setting: its model and training in a few words.
      doubts: what is not as the study asks, though it is shown.
    """

    found: dict[str, Any]
    ranks: dict[str, np.ndarray]
    listed: int | None
    setting: str
    doubts: tuple[str, ...] = ()

    @property
    def main(self) -> str | None:
        """The run's first row, the model on its first task; None where it ranks nothing."""
        rows = self.found["rows"]
        return rows[0]["system"] if rows and not rows[0].get("baseline") else None

    @property
    def baselines(self) -> list[str]:
        """Names of the rows that other rows are held against."""
        return [row["system"] for row in self.found["rows"] if row.get("baseline") and row["system"] in self.ranks]

    def value(self, measure: str, system: str = "") -> float | str:
        """One figure, or why there is none.

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
        """A metric of ranks, of one of its systems by its whole name, or why it can't be known."""
        k = int(metric.partition("@")[2])
        if self.listed is not None and name not in self.baselines and k > self.listed:
            return f"its lists hold {self.listed} items, so that @{k} is not known"
        return metrics(self.ranks[name], (k,))[metric]

    def n_users(self, measure: str, system: str = "") -> int | None:
        """How many were asked for a figure of `value`."""
        if "/" in measure:
            row = self.text_row(measure.removeprefix("ms/").split("/")[0])
            return row["n"] if row else None
        users = measure.partition(", ")[2]
        name = (self.main or "") + system + (f", {users}" if users else "")
        return int((~np.isnan(self.ranks[name])).sum()) if name in self.ranks else None

    @property
    def likeliest(self) -> float | None:
        """RMSE of the likeliest star, which a greedy decoder says; the model's own row is that of the mean star."""
        rows = (self.found.get("texts") or {}).get("rows", ())
        said = [r for r in rows if r["task"] == "rating" and r["system"].endswith(", most likely")]
        return said[0]["rmse"] if said else None

    def _milliseconds(self, what: str) -> float | str:
        if what.startswith("/"):
            row = self.text_row(what[1:])
            return row["ms"] if row else f"the run was not measured on {what[1:]}"
        if not what:
            return self.found.get("ms_per_user") or "the run has no time of a list of ten"
        if any(r["system"] == (self.main or "") + what for r in self.found["rows"]):
            task = "direct" if what == " (user id only)" else what.strip(" ()")
            return self.found.get("ms_by_task", {}).get(task) or f"the run has no time of task {task!r}"
        return f"the run has no row {what.strip()!r}"

    def text_row(self, task: str) -> dict[str, Any] | None:
        """The model's row of a task of texts or ratings."""
        rows = (self.found.get("texts") or {}).get("rows", ())
        return next((r for r in rows if r["task"] == task and not r.get("baseline")), None)


def read_run(folder: pathlib.Path, config: Config | None) -> Finished | str | None:
    """A run's results.

    Args:
      folder: the run's.
      config: what the study asks for; None: whatever the folder holds.
    Returns:
      the results; why they are not this study's; or None where there are none yet.
    """
    if not (folder / "results.json").is_file() or not (folder / "config.json").is_file():
        return None
    held = json.loads((folder / "config.json").read_text())
    doubts: tuple[str, ...] = ()
    if config is not None:
        wanted, there = (flatten_dict(c, sep=".") for c in (json.loads(to_json(config)), held))
        differing = sorted(n for n in set(wanted) & set(there) - {"out"} if wanted[n] != there[n])
        if differing:
            return f"its folder holds a run of another config ({', '.join(differing)} differ)"
        if set(wanted) != set(there):
            doubts = ("its folder was left by another version of jaxrec",)
    listed = held["eval"]["beams"] if held["answer"] == "id" else LISTED
    return _read(folder, listed, setting(held), doubts)


def read_baseline(folder: pathlib.Path, config: Config) -> Finished | str | None:
    """A baseline's results, as `read_run`; of the config only what it reads counts: data, seed, protocol, mask_seen."""
    if not (folder / "test" / "results.json").is_file() or not (folder / "config.json").is_file():
        return None
    wanted, there = (
        flatten_dict(c, sep=".")
        for c in (json.loads(to_json(config)), json.loads((folder / "config.json").read_text()))
    )
    read = [n for n in wanted if n.startswith("data.") or n in ("seed", "protocol", "eval.mask_seen")]
    if differing := sorted(n for n in read if n in there and wanted[n] != there[n]):
        return f"its folder holds a run on other data ({', '.join(differing)} differ)"
    finished = _read(folder / "test", None, "", ())
    own = finished.found["settings"]
    said = f"width {own['dim']}, at most {own['epochs']:g} epochs"
    return dataclasses.replace(finished, setting=said)


def setting(config: dict[str, Any]) -> str:
    """Language model and training of a run's config.json."""
    model, train = config["model"], config["train"]
    shape = model[model["backbone"]]
    layers = f"{shape['encoder_layers']}+{shape['decoder_layers']}" if "encoder_layers" in shape else shape["layers"]
    weights = f"weights of {pathlib.Path(model['init_from']).name}" if model["init_from"] else "random weights at first"
    epochs = f"{train['epochs']:g} epoch{'s' if train['epochs'] != 1 else ''}"
    lasting = epochs if train["steps"] is None else f"{train['steps']} steps"
    name = "T5" if model["backbone"] == "t5" else "LLaMA"
    beams = f", {config['eval']['beams']} beams" if config["answer"] == "id" else ""
    return f"{name} of {layers} layers, width {shape['d_model']}, {weights}, {lasting}{beams}"


def _read(folder: pathlib.Path, listed: int | None, setting: str, doubts: tuple[str, ...]) -> Finished:
    ranks = {}
    if (folder / "ranks.npz").is_file():
        with np.load(folder / "ranks.npz") as arrays:
            ranks = dict(arrays)
    return Finished(json.loads((folder / "results.json").read_text()), ranks, listed, setting, doubts)
