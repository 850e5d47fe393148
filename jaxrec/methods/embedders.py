"""Embedders by name: events to one vector per user and item, and the same for newcomers without training again."""

from __future__ import annotations

import dataclasses
import zipfile
from typing import Any

import numpy as np

from jaxrec.methods import collaborative, metapath
from jaxrec.methods.run import Run
from jaxrec.tokenizers.fold_in import of_each_item, of_each_user
from jaxrec.types import Histories, Vectors


@dataclasses.dataclass(frozen=True)
class Embedding:
    """What an embedder made of the training events.

    Attributes:
      vectors: user f32[U,F], item f32[I,F]; zeros where no training event was.
      tables: LightGCN's rows before propagation, from which vectors are refreshed; None for other embedders.
    """

    vectors: Vectors
    tables: Vectors | None = None


def embed(run: Run) -> Embedding:
    """The vectors of a run, from its folder where an earlier call left them."""
    config, file = run.config, run.folder / "vectors.npz"
    if file.is_file():
        try:
            with np.load(file) as kept:
                tables = Vectors(kept["user_table"], kept["item_table"]) if "user_table" in kept else None
                return Embedding(Vectors(kept["user"], kept["item"]), tables)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} can't be read ({error}); delete it, and it is made again") from error
    if config.embedder == "walks":
        run.say("embedding users and items: meta-path walks and skip-gram")
        folder = run.folder / "skipgram"
        made = Embedding(
            metapath.embed(run.learned_from, config.walks, config.skipgram, seed=config.seed, folder=folder)
        )
    else:
        run.say("embedding users and items: " + {"lightgcn": "LightGCN", "mf": "matrix factorisation"}[config.embedder])
        found = collaborative.train(
            run.learned_from,
            collaborative_config(run),
            valid=run.split.valid,
            seed=config.seed,
            folder=run.folder / config.embedder,
        )
        made = Embedding(found.vectors, found.tables)
    save(run, made)
    return made


def save(run: Run, made: Embedding) -> None:
    """Leaves an embedding in the run's folder, whole or not at all."""
    arrays: dict[str, Any] = {"user": made.vectors.user, "item": made.vectors.item}
    if made.tables is not None:
        arrays |= {"user_table": made.tables.user, "item_table": made.tables.item}
    part = run.folder / "vectors.part.npz"
    np.savez(part, **arrays)
    part.replace(run.folder / "vectors.npz")


def refresh(run: Run, made: Embedding, histories: Histories) -> Vectors:
    """Vectors of all users and items once these histories are known, newcomers included; nothing is trained.

    LightGCN propagates its tables over the new graph, in which a newcomer's row starts from zeros (TokenRec, section
    2.5.2: only the collaborative part is refreshed). Other embedders take a new item as the mean of its users, and then
    a user as the mean of the items.

    Args:
      run: the run that the vectors belong to.
      made: what `embed` returned.
      histories: events of at least the users and items that `made` has, newcomers numbered behind them.
    """
    if made.tables is not None and collaborative_config(run).layers:
        return collaborative.propagate(made.tables, histories, collaborative_config(run).layers)
    item = _padded(made.vectors.item, histories.n_items)
    user = _padded(made.vectors.user, histories.n_users)
    unknown = ~item.any(axis=1)
    item[unknown] = of_each_item(histories, user)[unknown]
    return Vectors(of_each_user(histories, item), item)


def collaborative_config(run: Run):
    """LightGCN's config; matrix factorisation is the same without propagation."""
    layers = 0 if run.config.embedder == "mf" else run.config.lightgcn.layers
    return dataclasses.replace(run.config.lightgcn, layers=layers)


def _padded(rows: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]), np.float32)])
