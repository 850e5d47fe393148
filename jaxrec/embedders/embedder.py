"""What an embedder is: how it makes vectors of events, and how it takes newcomers in without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrec.config import Config
from jaxrec.embedders.fold_in import of_each_item, of_each_user
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


Fit = Callable[..., Embedding]
Refresh = Callable[[Embedding, Histories, Config], Vectors]


def fold_in(embedding: Embedding, histories: Histories, config: Config) -> Vectors:
    """Vectors once these histories are known: a new item's is the mean of its users', a user's the mean of the items'.

    Nothing is trained. Items that have a vector keep it.

    Args:
      embedding: what `Embedder.fit` made.
      histories: events of at least the users and items of the embedding, newcomers numbered behind them.
      config: of the run; not read.
    """
    del config
    item = _padded(embedding.vectors.item, histories.n_items)
    user = _padded(embedding.vectors.user, histories.n_users)
    without = ~item.any(axis=1)
    item[without] = of_each_item(histories, user)[without]
    return Vectors(of_each_user(histories, item), item)


@dataclasses.dataclass(frozen=True)
class Embedder:
    """A way to make one vector per user and item; a new one is a file with such a record and a line in the registry.

    Attributes:
      title: what tables and progress lines call it.
      fit: fit(histories, config, *, valid i32[U], folder) -> Embedding. `histories` are all that it may learn from,
        `valid` the items that may select (-1 = none), `folder` where it may keep checkpoints to go on from.
      settings: settings(config): all of a config that its vectors depend on beside data, protocol and seed. Runs
        whose settings are equal share their vectors.
      refresh: refresh(embedding, histories, config) -> Vectors of everybody, newcomers included; nothing is trained.
      ranks: whether inner products of its vectors rank items: tables then show it as a baseline of its own.
    """

    title: str
    fit: Fit
    settings: Callable[[Config], Any]
    refresh: Refresh = fold_in
    ranks: bool = False


def _padded(rows: np.ndarray, n: int) -> np.ndarray:
    """Rows f32[m,F] followed by zeros, f32[n,F]."""
    return np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]), np.float32)])
