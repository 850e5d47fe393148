"""The stage that embeds the events of a run, and what it leaves in the run's folder."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np

from jaxrec.embedders.embedder import Embedding
from jaxrec.embedders.registry import embedder
from jaxrec.files import whole_file
from jaxrec.system.run import Run
from jaxrec.types import Vectors


def embed(run: Run) -> Embedding:
    """The vectors of a run, from its folder where an earlier call left them.

    Raises:
      ValueError: vectors.npz is damaged.
    """
    config, file = run.config, run.folder / "vectors.npz"
    if file.is_file():
        try:
            with np.load(file) as kept:
                tables = Vectors(kept["user_table"], kept["item_table"]) if "user_table" in kept else None
                return Embedding(Vectors(kept["user"], kept["item"]), tables)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} can't be read ({error}); delete it, and it is made again") from error
    record = embedder(config.embedder)
    run.say(f"embedding users and items: {record.title}")
    embedding = record.fit(
        run.learned_from,
        record.settings(config),
        valid=run.split.valid,
        seed=config.seed,
        folder=run.folder / config.embedder,
    )
    _save(run, embedding)
    return embedding


def _save(run: Run, embedding: Embedding) -> None:
    """Leaves an embedding in the run's folder, whole or not at all."""
    arrays: dict[str, Any] = {"user": embedding.vectors.user, "item": embedding.vectors.item}
    if embedding.tables is not None:
        arrays |= {"user_table": embedding.tables.user, "item_table": embedding.tables.item}
    with whole_file(run.folder / "vectors.npz") as part, part.open("wb") as opened:  # given a name, numpy appends .npz
        np.savez(opened, **arrays)
