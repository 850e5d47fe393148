"""The record of an embedder, which learns vectors from training events and adds new users and items by fold-in."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jaxrec.config import Config
from jaxrec.embedders.fold_in import of_each_item, of_each_user, unit_rows
from jaxrec.types import Histories, Interactions, Vectors


@dataclasses.dataclass(frozen=True)
class Embedding:
    """The vectors that an embedder learned from the training events.

    Attributes:
      vectors: user f32[U,F], item f32[I,F]; rows of zeros for users and items without a training event.
      tables: layer-0 embeddings of those that propagate, from which they refresh vectors; None for other embedders.
      cosine: whether vectors have length 1, because the embedder compares them by cosine; a refresh gives such, too.
      report: what was chosen in training, as results.json states it; empty where there was no choice.
    """

    vectors: Vectors
    tables: Vectors | None = None
    cosine: bool = False
    report: dict[str, Any] = dataclasses.field(default_factory=dict)


class Fit(Protocol):
    """Learns vectors from events alone; see `Embedder.fit`."""

    def __call__(
        self,
        histories: Histories,
        settings: Any,
        /,
        *,
        valid: np.ndarray | None,
        seed: int,
        folder: str | os.PathLike[str] | None,
    ) -> Embedding: ...


Refresh = Callable[[Embedding, Histories, Any], Vectors]


def fold_in(embedding: Embedding, histories: Histories, settings: Any = None) -> Vectors:
    """Vectors for a larger set of events without training; the default `Embedder.refresh`.

    A new item gets the mean of its users' unit vectors, other items keep their vector, and every user gets the mean of
    their items' unit vectors. Where the embedder compares by cosine, all of them are scaled to length 1.

    Args:
      embedding: the result of `Embedder.fit`.
      histories: events of all users and items; new ones are numbered after those of the embedding.
      settings: not used.
    """
    del settings
    item = _padded(embedding.vectors.item, histories.n_items)
    user = _padded(embedding.vectors.user, histories.n_users)
    is_new = ~item.any(axis=1)
    item[is_new] = of_each_item(histories, user)[is_new]
    user = of_each_user(histories, item)
    return Vectors(unit_rows(user), unit_rows(item)) if embedding.cosine else Vectors(user, item)


@dataclasses.dataclass(frozen=True)
class Embedder:
    """A way to learn one vector per user and item; to add one, write such a record and add a line to the registry.

    Attributes:
      title: its name in tables and messages.
      settings: settings(config) -> the part of a config that `fit` and `refresh` depend on, hashable; runs with equal
        data, protocol, seed, embedder and settings share their vectors.
      fit: fit(histories, settings, *, valid, seed, folder) -> Embedding. `histories` are the training events; `valid`
        i32[U] the validation items for model selection, -1 = none, or None; `folder` for checkpoints and
        metrics.jsonl, from which a killed run resumes, or None.
      refresh: refresh(embedding, histories, settings) -> Vectors of all users and items, new ones included, without
        training.
      about: about(data) -> what is known of the items besides events, which `fit` reads as its argument `about`; None:
        it reads events alone.
      ranks: whether inner products of its vectors rank items; tables then list them as a baseline.
    """

    title: str
    settings: Callable[[Config], Any]
    fit: Callable[..., Embedding]
    refresh: Refresh = fold_in
    about: Callable[[Interactions], Any] | None = None
    ranks: bool = False


def _padded(rows: np.ndarray, n: int) -> np.ndarray:
    """Rows f32[m,F] followed by zeros, f32[n,F]."""
    return np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]), np.float32)])
