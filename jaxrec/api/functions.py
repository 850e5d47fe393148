"""The public functions that train, load, compare and sweep runs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxrec import experiment
from jaxrec.api.blend import Blend
from jaxrec.api.data import on_data
from jaxrec.api.messages import OnMessage, sending_messages_to
from jaxrec.api.run import TrainedRun
from jaxrec.baselines.registry import Settings as BaselineSettings
from jaxrec.config import Config, load_config
from jaxrec.config.checks import check_eval
from jaxrec.inference.blends import BLEND_FILE, load_blend
from jaxrec.studies.baselines import compare_baselines as compare_baselines_in
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.comparison import Comparison
from jaxrec.studies.inflation import Inflation
from jaxrec.studies.inflation import compare_protocols as compare_protocols_in
from jaxrec.studies.sweep.axes import read_axes
from jaxrec.studies.sweep.choose import choose_settings
from jaxrec.studies.sweep.result import SweepResult
from jaxrec.studies.workers import Workers
from jaxrec.system import loading

ConfigLike = Config | str | os.PathLike[str]
"""A config, a preset's name, or the path of a file that builds a config."""


def train(
    config: ConfigLike, data: Any = None, out: str | os.PathLike[str] | None = None, *, progress: OnMessage = None
) -> TrainedRun:
    """Trains a run, evaluates it and the baselines on the test part, and stores everything in the run's folder.

    Calling it again resumes an interrupted run; a finished run is evaluated again but not trained again.

    Args:
      config: a config, a preset's name or a file.
      data: replaces the config's data: a file's path, or a data frame of polars, pandas or pyarrow with a row per
        event, columns user and item, and optionally time, rating, review, summary and title. The events of a data frame
        are stored in the run's folder.
      out: the run's folder; None: the config's `out`, or runs/NAME.
      progress: called with each message and progress line, which also go to the logger "jaxrec".
    Raises:
      ValueError: the config contradicts itself, the data can't be read, or the folder holds a run of another config.
      FloatingPointError: loss or gradient became NaN or infinite.
    """
    config = _config(config, out)
    with sending_messages_to(progress):
        system, _ = experiment.train(on_data(config, data, config.folder))
    return TrainedRun(system)


def load(
    folder: str | os.PathLike[str],
    *,
    recommender: Literal["beam", "exact"] | None = None,
    beams: int | None = None,
    accept_new_data: bool = False,
) -> TrainedRun | Blend:
    """Loads a trained run from its folder, with its best weights and the users and items of later updates; or a blend.

    Args:
      folder: written by `train` or `blend`.
      recommender: "beam" for beam search, "exact" to score the whole catalogue; None: as in the run's config.
      beams: beam width; None: as in the run's config.
      accept_new_data: go on where events, ratings, times or titles of the run's users and items have changed since it
        was trained; figures are not comparable then. New events belong into `TrainedRun.update`.
    Raises:
      ValueError: the folder holds no trained run, its data have changed, a file is damaged, or `recommender` or
        `beams` is given for a blend or a run without beam search.
    """
    overrides = {name: value for name, value in (("recommender", recommender), ("beams", beams)) if value is not None}
    if (pathlib.Path(folder) / BLEND_FILE).is_file():
        if overrides:
            raise ValueError(f"{folder} holds a blend; leave out {', '.join(overrides)}, which its runs' configs set")
        if accept_new_data:
            raise ValueError(f"{folder} holds a blend, whose data must be as they were; leave accept_new_data out")
        return Blend(load_blend(folder))
    check_eval(overrides)
    system = loading.load(folder, accept_new_data=accept_new_data, **overrides)
    return TrainedRun(system, accepts_new_data=accept_new_data)


def compare(
    study: Mapping[str, ConfigLike],
    seeds: Sequence[int] = (0,),
    *,
    data: Any = None,
    out: str | os.PathLike[str] = "runs/comparison",
    workers: int = 1,
    ray: bool = False,
    progress: OnMessage = None,
) -> Comparison:
    """Trains and evaluates several configs with several seeds; finished runs in the folder are reused.

    Args:
      study: configs, or presets' names, by row name.
      seeds: every config is run with every seed; with several, the table shows mean and standard deviation.
      data: as for `train`; used by all runs.
      out: folder for results.json and one run folder NAME-SEED per run, which `load` reads.
      workers: runs that are trained at a time, each in a process with an even share of this machine's cores or GPUs.
      ray: whether they are tasks on the Ray cluster of `RAY_ADDRESS`, or on a local one, instead.
      progress: called with each message and progress line.
    Returns:
      The table of all runs.
    Raises:
      ValueError: `study` or `seeds` is empty, or a config is invalid; all configs are checked before any training.
    """
    folder = pathlib.Path(out)
    with sending_messages_to(progress):
        return compare_configs(_study(study, data, folder), seeds, folder, Workers(workers, ray))


def compare_protocols(
    study: Mapping[str, ConfigLike],
    seeds: Sequence[int] = (0,),
    *,
    data: Any = None,
    out: str | os.PathLike[str] = "runs/protocols",
    workers: int = 1,
    ray: bool = False,
    progress: OnMessage = None,
) -> Inflation:
    """`compare` under the strict protocol and under that of the papers' released code, and the inflation by its leak.

    Args, Raises: as for `compare`; `out` gets the folders strict/ and as-released/.
    """
    folder = pathlib.Path(out)
    with sending_messages_to(progress):
        # A run looks for a data frame's events in its own folder and in the parent, here strict/ or as-released/.
        strict, _ = (_study(study, data, folder / protocol) for protocol in ("strict", "as-released"))
        return compare_protocols_in(strict, seeds, folder, Workers(workers, ray))


def compare_baselines(
    config: ConfigLike,
    systems: Sequence[str] = ("sasrec",),
    seeds: Sequence[int] = (0,),
    *,
    settings: Any = None,
    data: Any = None,
    part: Literal["valid", "test"] = "test",
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    ray: bool = False,
    progress: OnMessage = None,
) -> Comparison:
    """Trains and evaluates baselines on a config's data, beside baselines without training, such as popularity.

    Args:
      config: its data, split and eval.mask_seen are used.
      systems: names of baselines, fields of `BaselineSettings`: "mf", "lightgcn", "sasrec", "ease", ...
      seeds: every baseline is trained with every seed.
      settings: `BaselineSettings` of all baselines; None: the defaults.
      data: as for `train`.
      part: held-out items to rank; use "valid" to choose settings.
      out: folder for the table and the runs; None: runs/NAME_baselines.
      workers: runs that are trained at a time, each in a process with an even share of this machine's cores or GPUs.
      ray: whether they are tasks on the Ray cluster of `RAY_ADDRESS`, or on a local one, instead.
      progress: called with each message and progress line.
    Returns:
      The table of all baselines.
    Raises:
      ValueError: `seeds` is empty, a baseline's name is unknown, or the folder holds baselines with other settings.
    """
    config = _config(config)
    folder = pathlib.Path(out or f"runs/{config.name}_baselines")
    with sending_messages_to(progress):
        config = on_data(config, data, folder)
        settings = settings or BaselineSettings()
        return compare_baselines_in(systems, config, seeds, folder, settings, part=part, workers=Workers(workers, ray))


def sweep(
    config: ConfigLike,
    grid: Sequence[str],
    seeds: Sequence[int] = (0,),
    *,
    trials: int | None = None,
    show_test: bool = False,
    data: Any = None,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    ray: bool = False,
    progress: OnMessage = None,
) -> SweepResult:
    """Hyperparameter search: trains a config with different settings and selects by validation NDCG@10.

    Args:
      config: the config whose fields are varied.
      grid: FIELD=VALUE,VALUE, such as "train.learning_rate=1e-3,1e-2"; with `trials` also ranges,
        "ids.clusters=20..200".
      seeds: every setting is trained with every seed; the mean over seeds selects.
      trials: number of settings sampled by Optuna; None: grid search over all combinations.
      show_test: evaluate every setting on the test items, not only the selected one; do not select by that table.
      data: as for `train`.
      out: folder for sweep.json, sweep.html with a picture for each field, and the runs; None: runs/NAME_sweep.
      workers: runs that are trained at a time, each in a process with an even share of this machine's cores or GPUs.
      ray: whether they are tasks on the Ray cluster of `RAY_ADDRESS`, or on a local one, instead.
      progress: called with each message and progress line.
    Returns:
      All settings with their validation metrics, and the test results.
    Raises:
      ValueError: a field or value of `grid` is invalid, the config has no task that ranks items, the loss of every run
        became NaN or infinite, or `trials` is given and Optuna is not installed.
    """
    config = _config(config)
    folder = pathlib.Path(out or f"runs/{config.name}_sweep")
    with sending_messages_to(progress):
        config = on_data(config, data, folder)
        return choose_settings(
            config,
            read_axes(grid, config),
            seeds,
            folder,
            trials=trials,
            show_test=show_test,
            workers=Workers(workers, ray),
        )


def _config(source: ConfigLike, out: str | os.PathLike[str] | None = None) -> Config:
    config = source if isinstance(source, Config) else load_config(source)
    return config if out is None else dataclasses.replace(config, out=os.fspath(out))


def _study(study: Mapping[str, ConfigLike], data: Any, folder: pathlib.Path) -> dict[str, Config]:
    if not study:
        raise ValueError('study holds no config; give at least one by row name: {"META ID": config}')
    return {name: on_data(_config(source), data, folder) for name, source in study.items()}
