"""The embedding stage: computes a run's collaborative vectors and stores them as vectors.npz."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from jaxrec.embedders.embedder import Embedding
from jaxrec.embedders.registry import embedder
from jaxrec.files import kept_file, read_kept
from jaxrec.system.run import Run
from jaxrec.types import DataError, Vectors

REMEDY = "delete it, and the run's train command computes it again"


def embed(run: Run) -> Embedding:
    """A run's collaborative vectors; read from vectors.npz where an earlier call stored them.

    Raises:
      DataError: vectors.npz is damaged.
    """
    config, file = run.config, run.folder / "vectors.npz"
    if file.is_file():
        arrays = read_kept(file, "npz", REMEDY)
        try:
            tables = Vectors(arrays["user_table"], arrays["item_table"]) if "user_table" in arrays else None
            report = json.loads(str(arrays["report"])) if "report" in arrays else {}
            vectors = Vectors(arrays["user"], arrays["item"])
        except (KeyError, ValueError) as error:
            raise DataError(f"{file} holds other arrays than vectors ({error}); {REMEDY}") from error
        if (len(vectors.user), len(vectors.item)) != (run.data.n_users, run.data.n_items):
            raise DataError(
                f"{file} holds vectors of {len(vectors.user)} users and {len(vectors.item)} items, the data has "
                f"{run.data.n_users} and {run.data.n_items}; {REMEDY}"
            )
        return Embedding(vectors, tables, "cosine" in arrays, report)
    record = embedder(config.embedder)
    run.say(f"embedding users and items: {record.title}")
    embedding = record.fit(
        run.learned_from,
        record.settings(config),
        # A run without a ranking task holds no item out that could select; its embedder trains to the end.
        valid=run.split.valid if (run.split.valid >= 0).any() else None,
        seed=config.seed,
        folder=run.folder / config.embedder,
        **({} if record.about is None else {"about": record.about(run.data)}),
    )
    _save(run, embedding)
    return embedding


def _save(run: Run, embedding: Embedding) -> None:
    """Writes vectors.npz atomically."""
    arrays: dict[str, Any] = {"user": embedding.vectors.user, "item": embedding.vectors.item}
    if embedding.tables is not None:
        arrays |= {"user_table": embedding.tables.user, "item_table": embedding.tables.item}
    if embedding.cosine:
        arrays["cosine"] = True
    if embedding.report:
        arrays["report"] = json.dumps(embedding.report)
    with (
        kept_file(run.folder / "vectors.npz") as part,
        part.open("wb") as stream,
    ):  # np.savez adds .npz to paths
        np.savez(stream, **arrays)
