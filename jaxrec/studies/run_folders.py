"""Folders of a study's runs: their paths, shared vectors, and results."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.embedders.registry import embedder
from jaxrec.files import kept_file, read_kept
from jaxrec.system import run as runs

REMEDY = "delete it, and the run is measured anew"
RESULTS = "results.json"
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
    register = share_vectors(config, vectors)
    file = config.folder / RESULTS
    report = read_kept(file, "json", REMEDY) if file.is_file() else experiment.train(config)[1]
    register()
    return report


def train(config: Config) -> None:
    """Trains and measures a run, whose results stay in its folder."""
    experiment.train(config)


def share_vectors(config: Config, vectors: Vectors) -> Callable[[], None]:
    """Copies the vectors of another run with the same embedder, data and seed to the run's folder if it has none.

    Args:
      config: the run's config.
      vectors: of other runs.
    Returns:
      a function that adds the run's own vectors to `vectors`, to call once they exist.
    """
    depends_on = what_vectors_depend_on(config)
    file = config.folder / "vectors.npz"
    if depends_on in vectors and not file.is_file():
        config.folder.mkdir(parents=True, exist_ok=True)
        with kept_file(file) as part:
            shutil.copy(vectors[depends_on], part)

    def register() -> None:
        if file.is_file():
            vectors.setdefault(depends_on, file)

    return register


def what_vectors_depend_on(config: Config) -> tuple:
    """Equal for runs whose vectors are equal."""
    # The tasks determine the split: leave-one-out, by events, or both.
    tasks = bool(config.task.ranking), bool(config.task.writing)
    settings = embedder(config.embedder).settings(config)
    return config.data, config.protocol, config.seed, config.embedder, tasks, settings
