"""Folders of a study's runs: their paths, shared vectors, and results."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.embedders.registry import embedder
from jaxrec.files import kept_file, read_kept
from jaxrec.system import run as runs

REMEDY = "delete it, and the run is measured anew"
RESULTS, VECTORS = "results.json", "vectors.npz"
Vectors = dict[tuple, pathlib.Path]
"""Files of vectors, by everything they depend on."""


def run_folder(folder: pathlib.Path, name: str, seed: int) -> pathlib.Path:
    """The folder of a row's run with a seed."""
    return folder / f"{''.join(c if c.isalnum() else '_' for c in name.lower())}-{seed}"


def results_of(config: Config, vectors: Vectors) -> dict[str, Any]:
    """The results.json of the config's folder; trains the run if there is none.

    Args:
      config: the run's config.
      vectors: of the study's other runs; copied if equal, and the run's own are added.
    """
    runs.check_run(config)
    share_vectors(config, vectors)
    file = config.folder / RESULTS
    report = read_kept(file, "json", REMEDY) if file.is_file() else experiment.train(config)[1]
    register_vectors(config, vectors)
    return report


def train(config: Config) -> None:
    """Trains and measures a run, whose results stay in its folder."""
    experiment.train(config)


def share_vectors(config: Config, vectors: Vectors) -> None:
    """Copies the vectors of another run with the same embedder, data and seed to the run's folder if it has none.

    Args:
      config: the run's config.
      vectors: of other runs.
    """
    others = vectors.get(what_vectors_depend_on(config))
    if others is not None and not has_vectors(config):
        config.folder.mkdir(parents=True, exist_ok=True)
        with kept_file(config.folder / VECTORS) as part:
            shutil.copy(others, part)


def register_vectors(config: Config, vectors: Vectors) -> None:
    """Adds the run's vectors to those of other runs once they exist."""
    if has_vectors(config):
        vectors.setdefault(what_vectors_depend_on(config), config.folder / VECTORS)


def has_vectors(config: Config) -> bool:
    """Whether the run's vectors exist."""
    return (config.folder / VECTORS).is_file()


def what_vectors_depend_on(config: Config) -> tuple:
    """Equal for runs whose vectors are equal."""
    # The tasks determine the split: leave-one-out, by events, or both.
    tasks = bool(config.task.ranking), bool(config.task.writing)
    settings = embedder(config.embedder).settings(config)
    return config.data, config.protocol, config.seed, config.embedder, tasks, settings
