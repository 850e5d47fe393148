"""Runs the stages before training (embedding, ids, vocabulary and model), and adds new users and items later."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxrec.embedders.fold_in import of_each_user, scale_to_mean_length
from jaxrec.embedders.registry import embedder
from jaxrec.system.embed import embed
from jaxrec.system.identify import identify
from jaxrec.system.model import make_model
from jaxrec.system.run import Run
from jaxrec.system.system import System
from jaxrec.types import Histories, Vectors


def build(run: Run, *, untrained: bool = False) -> System:
    """Builds a run's system, without trained weights; results of stages that the run's folder holds are reused.

    Args:
      run: config, data and folder.
      untrained: use the initial weights of training, pretrained ones included, even where the run has checkpoints.
    """
    embedding = embed(run)
    ids = identify(run, embedding.vectors)
    vocabulary, model = make_model(run, ids, embedding.vectors, untrained=untrained)
    return System(
        **{field.name: getattr(run, field.name) for field in dataclasses.fields(Run)},
        embedding=embedding,
        ids=ids,
        vocabulary=vocabulary,
        model=model,
        histories=run.split.history("test"),
    )


def add_newcomers(system: System, histories: Histories, users: np.ndarray, items: np.ndarray) -> System:
    """Adds new users and items to a system without training; TokenRec, section 2.5.2.

    The embedder recomputes vectors from all histories. The vectors of new users and items are scaled to the norm of the
    existing ones and encoded by the frozen tokenizer. All other users and items keep vector and id.

    Args:
      system: trained or untrained.
      histories: of all users, old and new; new users and items have numbers after the existing ones, or already have
        rows in the system, as unseen ones do.
      users: i64[*], new users and users with new events.
      items: i64[*], new items.
    Returns:
      The system with `histories`, and vectors and ids for `users` and `items`.
    """
    record = embedder(system.config.embedder)
    refreshed = record.refresh(system.embedding, histories, record.settings(system.config))
    vectors, ids = system.embedding.vectors, system.ids
    vectors = Vectors(
        _with_rows(vectors.user, users, scale_to_mean_length(refreshed.user[users], vectors.user), histories.n_users),
        _with_rows(vectors.item, items, scale_to_mean_length(refreshed.item[items], vectors.item), histories.n_items),
    )
    ids = ids.with_items(items, vectors.item[items])
    user_vectors = vectors.user[users]
    if system.config.ids.users == "causal":  # whose ids are computed from folded-in vectors
        user_vectors = of_each_user(histories, vectors.item)[users]
    ids = ids.with_users(users, user_vectors)
    embedding = dataclasses.replace(system.embedding, vectors=vectors)
    return dataclasses.replace(system, embedding=embedding, ids=ids, histories=histories)


def _with_rows(rows: np.ndarray, indices: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """`rows` padded with zero rows to length n, with `values` at `indices`."""
    padded = np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]), rows.dtype)])
    padded[indices] = values
    return padded
