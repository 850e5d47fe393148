"""Loads a trained system from its run's folder."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from jaxrec.files.sums import SUMS_FILE
from jaxrec.system.run import check_blend, reopen
from jaxrec.system.stages import add_newcomers, build
from jaxrec.system.system import System
from jaxrec.system.training import restore
from jaxrec.types import DataError


def load(folder: str | os.PathLike[str], *, accept_new_data: bool = False, **overrides: Any) -> System:
    """Loads the system in a run's folder with its best weights, and the users and items of the run's data.

    Args:
      folder: written by `launch.train`.
      accept_new_data: go on where events, ratings, times or titles of the run's users and items have changed since.
      overrides: fields of the run's eval config to change.
    Raises:
      ValueError: the folder holds no run or no checkpoint yet, its data have changed or a file is damaged, or
        `overrides` holds "recommender" or "beams" and the run answers with vectors or ranks no items.
    """
    run = reopen(folder, accept_new_data=accept_new_data)
    unused = sorted({"recommender", "beams"} & set(overrides))
    if unused and run.config.answer == "vector":
        raise ValueError(
            f"{run.folder} answers with vectors, which are searched without beams: leave out {', '.join(unused)}"
        )
    for part in ("ids", "tokenizer", "checkpoints", "vectors.npz"):
        if not (run.folder / part).exists():
            raise DataError(
                f"{run.folder} holds no checkpoints yet, or not all of a trained run: {run.folder / part} is missing; "
                "python -m launch.train starts or finishes the run"
            )
    if not (run.folder / SUMS_FILE).is_file():
        run.say(f"no {SUMS_FILE} in {run.folder}, as of an older version: damaged files may go unnoticed")
    if unused and not run.config.task.ranking:
        raise ValueError(f"{run.folder} ranks no items: leave out {', '.join(unused)}")
    settings = dataclasses.replace(run.config.eval, **overrides)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, eval=settings))
    check_blend(run.config)
    return with_unseen(restore(build(run)))


def with_unseen(system: System) -> System:
    """The system with vectors and ids for the unseen users and items of its split."""
    split = system.split
    users, items = np.flatnonzero(split.unseen_users), np.flatnonzero(split.unseen_items)
    if not len(users) and not len(items):
        return system
    system = add_newcomers(system, split.known, users, items)
    return dataclasses.replace(system, histories=split.history("test"))
