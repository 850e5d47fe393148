"""Compares settings of one config on the validation items; only the best one is evaluated on the test items."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.config import Config
from jaxrec.files import read_kept, write_whole
from jaxrec.progress import logger
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.run_folders import Vectors, register_vectors, run_folder, share_vectors
from jaxrec.studies.sweep.axes import Choices, Range, with_values
from jaxrec.studies.sweep.result import SettingRow, SweepResult
from jaxrec.studies.workers import IN_TURN, Task, Workers, finish
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.run import command
from jaxrec.system.stages import build

METRIC = "ndcg@10"
VALIDATION = "validation.json"


def choose_settings(
    config: Config,
    axes: Sequence[Choices | Range],
    seeds: Sequence[int],
    folder: pathlib.Path,
    *,
    trials: int | None = None,
    show_test: bool = False,
    workers: Workers = IN_TURN,
) -> SweepResult:
    """Trains a config with each setting and seed (unless their folders hold the validation) and chooses the best.

    The criterion is the mean over the seeds of the best validation NDCG@10. The best setting is evaluated on the test
    items, next to the baselines; settings with a run whose loss was not finite are never chosen.

    Args:
      config: the config to vary.
      axes: fields and their values, of `jaxrec.studies.sweep.axes.read_axes`.
      seeds: every setting is trained with each seed.
      folder: gets a folder SETTING-SEED for each run, sweep.json, sweep.html with pictures, and, for the tested
        settings, results.json.
      trials: how many settings Optuna draws; None tries every combination.
      show_test: evaluate every setting on the test items. Selecting by that table would be selecting on test items.
      workers: how many runs of a grid are trained at a time, and where.
    Raises:
      ValueError: there are no seeds, no task ranks items, a range comes without trials or trials with workers, a config
        contradicts itself, no run was finite, or Optuna is not installed; or as of `jaxrec.studies.workers.finish`.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    _check_tasks(config, axes)
    vectors: Vectors = {}
    tried: dict[str, SettingRow] = {}

    def configs_of(settings: Mapping[str, Any]) -> list[Config]:
        name, changed = _setting_name(settings), with_values(config, settings)
        return [dataclasses.replace(changed, seed=seed, out=str(run_folder(folder, name, seed))) for seed in seeds]

    def validate_setting(settings: Mapping[str, Any]) -> float | None:
        name = _setting_name(settings)
        values = [_validation(each, vectors) for each in configs_of(settings)]
        tried[name] = SettingRow(name, dict(settings), tuple(values))
        return None if tried[name].diverged else tried[name].mean

    if trials is None:
        grid = _grid(config, axes)
        if workers.apart:
            every = [
                Task(f"{_setting_name(settings)}, seed {each.seed}", each, _validation, (each, {}))
                for settings in grid
                for each in configs_of(settings)
            ]
            left = [task for task in every if not (task.config.folder / VALIDATION).is_file()]
            finish(left, workers, finished=[task.config for task in every])
        for number, settings in enumerate(grid, 1):
            logger.info("sweep: setting %d of %d: %s", number, len(grid), _setting_name(settings))
            validate_setting(settings)
    elif workers.apart:
        raise ValueError("each trial is drawn by what those before it showed; leave out trials, or workers and ray")
    else:
        from jaxrec.studies.sweep.optuna_trials import draw_settings  # Optuna is optional

        draw_settings(axes, trials, validate_setting, folder, about=f"seeds {sorted(seeds)}")
    rows = sorted(tried.values(), key=lambda row: row.mean, reverse=True)
    if rows[0].diverged:
        raise ValueError("no setting's loss stayed finite; lower train.learning_rate, or lengthen train.warmup")
    tested = [row for row in rows[: None if show_test else 1] if not row.diverged]
    result = SweepResult(
        command=command(),
        seeds=tuple(seeds),
        metric=METRIC,
        rows=tuple(rows),
        chosen=rows[0].name,
        test=compare_configs({row.name: with_values(config, row.settings) for row in tested}, seeds, folder, workers),
    )
    write_whole(folder / "sweep.json", result.to_json())
    write_whole(folder / "sweep.html", result.to_html())
    return result


def _check_tasks(config: Config, axes: Sequence[Choices | Range]) -> None:
    """Checks that every setting has a ranking task."""
    task_axes = [axis for axis in axes if isinstance(axis, Choices) and axis.field == "task.tasks"]
    for tasks in task_axes[0].values.values() if task_axes else [config.task.tasks]:
        if not dataclasses.replace(config.task, tasks=tasks).ranking:
            raise ValueError(
                f"task.tasks ({', '.join(tasks)}) rank no items, and a sweep chooses by NDCG@10; add sequential, say"
            )


def _grid(config: Config, axes: Sequence[Choices | Range]) -> list[dict[str, Any]]:
    """Every combination of values; all configs are checked before the first is trained."""
    choices = [axis for axis in axes if isinstance(axis, Choices)]
    if len(choices) < len(axes):
        ranges = ", ".join(axis.field for axis in axes if isinstance(axis, Range))
        raise ValueError(f"{ranges}: a range is drawn from; say how often with --trials 20, or give values")
    grid = []
    for values in itertools.product(*(axis.values.values() for axis in choices)):
        settings = {axis.field: value for axis, value in zip(choices, values)}
        try:
            runs.check_run(dataclasses.replace(with_values(config, settings), out="none"))
        except ValueError as error:
            error.add_note(f"with {_setting_name(settings)}")
            raise
        grid.append(settings)
    return grid


def _validation(config: Config, vectors: Vectors) -> float | None:
    """The best validation metric of a run, trained or read from its folder; None if its loss was not finite."""
    runs.check_run(config)
    file = config.folder / VALIDATION
    share_vectors(config, vectors)
    if file.is_file():
        register_vectors(config, vectors)
        return read_kept(file, "json", "delete it, and the same command makes it again")[METRIC]
    try:
        fitted = training.train_model(build(runs.start(config)))[1]
    except FloatingPointError as error:
        report = {METRIC: None, "error": str(error)}
    except ValueError as error:
        error.add_note(f"in {config.folder}")
        raise
    else:
        values = [record[f"valid/{METRIC}"] for record in fitted.history if f"valid/{METRIC}" in record]
        if not values:
            raise ValueError("train.validate_every is 0, so there is nothing to choose by; give 1, say")
        report = {METRIC: max(values)}
    register_vectors(config, vectors)
    write_whole(file, json.dumps(report) + "\n")
    return report[METRIC]


def _setting_name(settings: Mapping[str, Any]) -> str:
    """The name of a setting's row and folders; long names are cut and made unique by a hash."""
    name = " ".join(f"{field}={value}" for field, value in settings.items())
    # Folders' names are limited to 255 bytes.
    return name if len(name) < 200 else f"{name[:180]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"
