"""What a notebook calls: train, load, compare, choose settings, fill tables, look at data."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from jaxrec import experiment
from jaxrec.api.data import on_data
from jaxrec.api.run import TrainedRun
from jaxrec.baselines.registry import Settings as BaselineSettings
from jaxrec.config import Config, load_config
from jaxrec.studies.baselines import compare_baselines as compare_baselines_in
from jaxrec.studies.compare import compare_configs
from jaxrec.studies.comparison import Comparison
from jaxrec.studies.inflation import Inflation
from jaxrec.studies.inflation import compare_protocols as compare_protocols_in
from jaxrec.studies.sweep.axes import read_axes
from jaxrec.studies.sweep.choose import choose_settings
from jaxrec.studies.sweep.result import SweepResult
from jaxrec.system import loading

Named = Config | str | os.PathLike[str]
"""A config, or a preset's name, or a file that builds one."""
Say = Callable[[str], None] | None


def train(
    config: Named, data: Any = None, out: str | os.PathLike[str] | None = None, *, progress: Say = None
) -> TrainedRun:
    """Trains what a config describes, measures it beside the baselines, and leaves all of it in the run's folder.

    A call that is given again goes on where the last one stopped; a finished run is measured again, not trained again.

    Args:
      config: a config, a preset's name or a file.
      data: a file's path, or a data frame of polars, pandas or pyarrow with a row for each event, columns user and item
        and maybe time, rating, review, summary and title; it takes the place of the config's own data. A frame's events
        are kept in the run's folder.
      out: the run's folder; default: as the config says, or runs/NAME.
      progress: is called with each message and progress line; the logger "jaxrec" has them, too.
    Raises:
      ValueError: the config contradicts itself, the data can't be read, or the folder holds a run of another config.
      FloatingPointError: loss or gradient was not finite.
    """
    config = _config(config, out)
    with _telling(progress):
        system, _ = experiment.train(on_data(config, data, config.folder))
    return TrainedRun(system)


def load(
    folder: str | os.PathLike[str], *, recommender: Literal["beam", "exact"] | None = None, beams: int | None = None
) -> TrainedRun:
    """The trained run in a folder, with its best weights and all that updates brought.

    Args:
      folder: what `train` left.
      recommender: "beam" searches, "exact" scores the whole catalogue; None: as the run's config says.
      beams: prefixes that the search keeps; None: as the run's config says.
    Raises:
      ValueError: the folder holds no trained run, or a setting is not one of this kind of run.
    """
    changed = {name: value for name, value in (("recommender", recommender), ("beams", beams)) if value is not None}
    return TrainedRun(loading.load(folder, **changed))


def compare(
    study: Mapping[str, Named],
    seeds: Sequence[int] = (0,),
    *,
    data: Any = None,
    out: str | os.PathLike[str] = "runs/comparison",
    progress: Say = None,
) -> Comparison:
    """Trains and measures several configs with several seeds as one table; finished runs in the folder are kept.

    Args:
      study: configs (or presets' names) by the names of their rows.
      seeds: each config is run with each; several give a mean and a standard deviation.
      data: as of `train`, for all of them.
      out: gets results.json and a folder NAME-SEED for each run, which `load` reads.
      progress: is called with each message and progress line.
    Raises:
      ValueError: there are no seeds or configs, or one of them can't be run; nothing is trained before all are checked.
    """
    folder = pathlib.Path(out)
    with _telling(progress):
        return compare_configs(_study(study, data, folder), seeds, folder)


def compare_protocols(
    study: Mapping[str, Named],
    seeds: Sequence[int] = (0,),
    *,
    data: Any = None,
    out: str | os.PathLike[str] = "runs/protocols",
    progress: Say = None,
) -> Inflation:
    """`compare` under the strict protocol and as the papers' code was released, and what its leak adds.

    Args, Raises: as of `compare`; `out` gets the folders strict/ and as-released/.
    """
    folder = pathlib.Path(out)
    with _telling(progress):
        # A run finds a frame's events in its own folder and in the one above, of which there are two here.
        strict, _ = (_study(study, data, folder / protocol) for protocol in ("strict", "as-released"))
        return compare_protocols_in(strict, seeds, folder)


def compare_baselines(
    config: Named,
    systems: Sequence[str] = ("sasrec",),
    seeds: Sequence[int] = (0,),
    *,
    settings: Any = None,
    data: Any = None,
    part: Literal["valid", "test"] = "test",
    out: str | os.PathLike[str] | None = None,
    progress: Say = None,
) -> Comparison:
    """Trains and measures baselines on a config's data, beside those that only count.

    Args:
      config: whose data, split and eval.mask_seen are taken.
      systems: "mf", "lightgcn", "sasrec", "ease", ...: fields of `BaselineSettings`.
      seeds: each is trained with each.
      settings: of all baselines; None takes the defaults.
      data: as of `train`.
      part: which held-out items are ranked; settings are chosen on "valid".
      out: gets the table and the runs; default: runs/NAME_baselines.
      progress: is called with each message and progress line.
    Raises:
      ValueError: there are no seeds, a name is unknown, or the folder holds baselines of other settings.
    """
    config = _config(config)
    folder = pathlib.Path(out or f"runs/{config.name}_baselines")
    with _telling(progress):
        config = on_data(config, data, folder)
        return compare_baselines_in(systems, config, seeds, folder, settings or BaselineSettings(), part=part)


def sweep(
    config: Named,
    grid: Sequence[str],
    seeds: Sequence[int] = (0,),
    *,
    trials: int | None = None,
    show_test: bool = False,
    data: Any = None,
    out: str | os.PathLike[str] | None = None,
    progress: Say = None,
) -> SweepResult:
    """Trains a config with other settings and chooses by NDCG@10 on the validation items.

    Args:
      config: what the settings are changed in.
      grid: "FIELD=VALUE,VALUE", as "train.learning_rate=1e-3,1e-2"; with `trials` also ranges, "ids.clusters=20..200".
      seeds: each setting is trained with each; the mean chooses.
      trials: so many settings are drawn by Optuna; None tries all combinations.
      show_test: measure every setting on the test items; choosing by that table would be choosing on the test items.
      data: as of `train`.
      out: gets sweep.json and the runs; default: runs/NAME_sweep.
      progress: is called with each message and progress line.
    Raises:
      ValueError: a field or value is wrong, no task ranks items, no run was finite, or Optuna is not installed.
    """
    config = _config(config)
    folder = pathlib.Path(out or f"runs/{config.name}_sweep")
    with _telling(progress):
        config = on_data(config, data, folder)
        return choose_settings(config, read_axes(grid, config), seeds, folder, trials=trials, show_test=show_test)


def _config(named: Named, out: str | os.PathLike[str] | None = None) -> Config:
    config = named if isinstance(named, Config) else load_config(named)
    return config if out is None else dataclasses.replace(config, out=os.fspath(out))


def _study(study: Mapping[str, Named], data: Any, folder: pathlib.Path) -> dict[str, Config]:
    if not study:
        raise ValueError('study holds no config; give some by the names of their rows: {"META ID": config}')
    return {name: on_data(_config(named), data, folder) for name, named in study.items()}


@contextlib.contextmanager
def _telling(progress: Say) -> Iterator[None]:
    """Hands messages and progress lines to a function while it lasts."""
    if progress is None:
        yield
        return
    from jaxrec.progress import messages_to

    with messages_to(progress):
        yield
