"""Many settings of one config, compared on the validation items; test items are ranked for what was chosen alone."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.config import Config
from jaxrec.files import write_whole
from jaxrec.studies.compare import compare, run_folder, share_vectors, spread
from jaxrec.studies.sweep.space import Choices, Range, changed
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.run import command
from jaxrec.system.stages import build

METRIC = "ndcg@10"


def sweep(
    config: Config,
    axes: Sequence[Choices | Range],
    seeds: Sequence[int],
    folder: pathlib.Path,
    *,
    trials: int | None = None,
    show_test: bool = False,
) -> dict[str, Any]:
    """Trains a config with other settings and every seed, unless their folders hold the validation, and chooses.

    A setting's value is the mean over the seeds of the best validation's NDCG@10. The one with the highest is measured
    on the test items, beside the baselines; runs that ended with a loss that is not finite are never chosen.

    Args:
      config: what the settings are changed in.
      axes: what is tried; of `jaxrec.studies.sweep.space.axes`.
      seeds: each setting is trained with each.
      folder: gets a folder SETTING-SEED for each run, sweep.json and, of what is tested, results.json.
      trials: how many settings Optuna draws; None tries every combination.
      show_test: measure every setting on the test items. Nothing may be chosen by that table.
    Returns:
      what sweep.json holds: "rows", each with its "settings" and "validation" values by seed, best first; "chosen", a
      row's name; and "test", as `jaxrec.studies.compare.compare` returns it.
    Raises:
      ValueError: there are no seeds, no task ranks items, a range comes without trials, a config contradicts itself, no
        run was finite, or Optuna is not installed.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    _check_tasks(config, axes)
    vectors: dict[tuple, pathlib.Path] = {}
    tried: dict[str, dict[str, Any]] = {}

    def measure(settings: Mapping[str, Any]) -> float | None:
        name = _name(settings)
        here = changed(config, settings)
        one = [dataclasses.replace(here, seed=seed, out=str(run_folder(folder, name, seed))) for seed in seeds]
        values = [_validation(each, vectors) for each in one]
        tried[name] = {"settings": dict(settings), "validation": values}
        known = [value for value in values if value is not None]
        return statistics.mean(known) if len(known) == len(values) else None

    if trials is None:
        for number, settings in enumerate(grid := _grid(config, axes), 1):
            print(f"sweep: setting {number} of {len(grid)}: {_name(settings)}", file=sys.stderr, flush=True)
            measure(settings)
    else:
        from jaxrec.studies.sweep.trials import search  # Optuna is optional

        search(axes, trials, measure, folder, about=f"seeds {sorted(seeds)}")

    def mean(name: str) -> float:
        values = tried[name]["validation"]
        return float("-inf") if None in values else statistics.mean(values)

    order = sorted(tried, key=mean, reverse=True)
    if mean(order[0]) == float("-inf"):
        raise ValueError("no setting's loss stayed finite; lower train.learning_rate, or lengthen train.warmup")
    tested = {name: changed(config, tried[name]["settings"]) for name in order[: None if show_test else 1]}
    tested = {name: one for name, one in tested.items() if mean(name) > float("-inf")}
    found = {
        "command": command(),
        "seeds": list(seeds),
        "metric": METRIC,
        "rows": [{"name": name, **tried[name]} for name in order],
        "chosen": order[0],
        "test": compare(tested, seeds, folder),
    }
    write_whole(folder / "sweep.json", json.dumps(found, indent=1) + "\n")
    return found


def table(found: dict[str, Any]) -> str:
    """All settings, best validation first; `jaxrec.studies.compare.table` shows what was tested."""
    fields = list(found["rows"][0]["settings"])
    test, seeds = found["test"], ", ".join(map(str, found["seeds"]))
    lines = [f"{test['dataset']}, {test['protocol']} protocol, seeds {seeds}: chosen on the validation items"]
    cells = [[*fields, f"{found['metric'].upper()} (valid)"]]
    for row in found["rows"]:
        diverged = None in row["validation"]
        value = "diverged" if diverged else spread(row["validation"])
        cells.append([*(str(row["settings"][field]) for field in fields), value])
    widths = [max(len(row[column]) for row in cells) for column in range(len(fields) + 1)]
    for number, row in enumerate(cells):
        mark = "  <- chosen" if number == 1 else ""
        lines.append("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths)) + mark)
    return "\n".join(lines)


def _check_tasks(config: Config, axes: Sequence[Choices | Range]) -> None:
    """Looks whether every setting has a task by which it can be chosen."""
    tried = [axis for axis in axes if isinstance(axis, Choices) and axis.field == "task.tasks"]
    for tasks in tried[0].values.values() if tried else [config.task.tasks]:
        if not dataclasses.replace(config.task, tasks=tasks).ranking:
            raise ValueError(
                f"task.tasks ({', '.join(tasks)}) rank no items, and a sweep chooses by NDCG@10; add sequential, say"
            )


def _grid(config: Config, axes: Sequence[Choices | Range]) -> list[dict[str, Any]]:
    """Every combination; each config is looked at before the first is trained."""
    choices = [axis for axis in axes if isinstance(axis, Choices)]
    if len(choices) < len(axes):
        ranges = ", ".join(axis.field for axis in axes if isinstance(axis, Range))
        raise ValueError(f"{ranges}: a range is drawn from; say how often with --trials 20, or give values")
    found = []
    for values in itertools.product(*(axis.values.values() for axis in choices)):
        settings = {axis.field: value for axis, value in zip(choices, values)}
        try:
            runs.check(dataclasses.replace(changed(config, settings), out="none"))
        except ValueError as error:
            error.add_note(f"with {_name(settings)}")
            raise
        found.append(settings)
    return found


def _validation(config: Config, vectors: dict[tuple, pathlib.Path]) -> float | None:
    """The best validation of a run, trained or taken from its folder; None where its loss was not finite."""
    runs.check(config)
    file = config.folder / "validation.json"
    keep = share_vectors(config, vectors)
    if file.is_file():
        keep()
        return json.loads(file.read_text())[METRIC]
    try:
        fitted = training.train(build(runs.start(config)))[1]
    except FloatingPointError as error:
        found = {METRIC: None, "error": str(error)}
    except ValueError as error:
        error.add_note(f"in {config.folder}")
        raise
    else:
        values = [record[f"valid/{METRIC}"] for record in fitted.history if f"valid/{METRIC}" in record]
        if not values:
            raise ValueError("train.validate_every is 0, so there is nothing to choose by; give 1, say")
        found = {METRIC: max(values)}
    keep()
    write_whole(file, json.dumps(found) + "\n")
    return found[METRIC]


def _name(settings: Mapping[str, Any]) -> str:
    """What a setting's row and folders are called."""
    name = " ".join(f"{field}={value}" for field, value in settings.items())
    # Folders' names are limited to 255 bytes.
    return name if len(name) < 200 else f"{name[:180]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"
