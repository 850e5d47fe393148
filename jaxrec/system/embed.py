"""The embedding stage: computes a run's collaborative vectors and stores them as vectors.npz."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import numpy as np

from jaxrec.embedders.embedder import Embedding
from jaxrec.embedders.registry import embedder
from jaxrec.files import whole_file
from jaxrec.system.run import Run
from jaxrec.types import Vectors


def embed(run: Run) -> Embedding:
    """A run's collaborative vectors; read from vectors.npz where an earlier call stored them.

    Raises:
      ValueError: vectors.npz can't be read.
    """
    config, file = run.config, run.folder / "vectors.npz"
    if file.is_file():
        try:
            with np.load(file) as arrays:
                tables = Vectors(arrays["user_table"], arrays["item_table"]) if "user_table" in arrays else None
                report = json.loads(str(arrays["report"])) if "report" in arrays else {}
                return Embedding(Vectors(arrays["user"], arrays["item"]), tables, "cosine" in arrays, report)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} can't be read ({error}); delete it, and the run computes it again") from error
    record = embedder(config.embedder)
    run.say(f"embedding users and items: {record.title}")
    embedding = record.fit(
        run.learned_from,
        record.settings(config),
        # A run without a ranking task holds no item out that could select; its embedder trains to the end.
        valid=run.split.valid if (run.split.valid >= 0).any() else None,
        seed=config.seed,
        folder=run.folder / config.embedder,
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
        whole_file(run.folder / "vectors.npz") as part,
        part.open("wb") as stream,
    ):  # np.savez adds .npz to paths
        np.savez(stream, **arrays)
