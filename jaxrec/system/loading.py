"""A trained system read back from its run's folder."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from jaxrec.system.run import reopen
from jaxrec.system.stages import build, welcome
from jaxrec.system.system import System
from jaxrec.system.training import restore


def load(folder: str | os.PathLike[str], **changed: Any) -> System:
    """The trained system in a run's folder, with the best weights; it knows nobody whom the run's data doesn't.

    Args:
      folder: what `launch.train` left.
      changed: fields of the run's eval config to override.
    Raises:
      ValueError: the folder holds no run, or one that has no checkpoint yet, or a field is overridden that
        the run does not use.
    """
    run = reopen(folder)
    ignored = sorted({"recommender", "beams"} & set(changed)) if run.config.answer == "vector" else []
    if ignored:
        raise ValueError(
            f"{run.folder} answers with vectors, which are searched without beams: leave out {', '.join(ignored)}"
        )
    if (
        not all((run.folder / part).is_dir() for part in ("ids", "tokenizer", "checkpoints"))
        or not (run.folder / "vectors.npz").is_file()
    ):
        raise ValueError(f"{run.folder} holds no checkpoints yet; python -m launch.train makes or finishes the run")
    ignored = sorted({"recommender", "beams"} & set(changed)) if not run.config.task.ranking else []
    if ignored:
        raise ValueError(f"{run.folder} ranks no items: leave out {', '.join(ignored)}")
    settings = dataclasses.replace(run.config.eval, **changed)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, eval=settings))
    return with_unseen(restore(build(run)))


def with_unseen(system: System) -> System:
    """The system with vectors and ids for the users and items that were held out of its training."""
    split = system.split
    users, items = np.flatnonzero(split.unseen_users), np.flatnonzero(split.unseen_items)
    if not len(users) and not len(items):
        return system
    system = welcome(system, split.known, users, items)
    return dataclasses.replace(system, histories=split.history("test"))
