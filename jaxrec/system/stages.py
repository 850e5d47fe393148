"""The stages of a run before the language model is trained: embed, identify, lay out vocabulary and model."""

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
    """Everything but the trained weights; what an earlier call left in the run's folder is read, not made again.

    Args:
      run: config, data and folder.
      untrained: whether pretrained weights are wanted even where training has left its own: the system as it began.
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


def welcome(system: System, histories: Histories, users: np.ndarray, items: np.ndarray) -> System:
    """The system once some users and items are known that it was not trained with; nothing is trained.

    The embedder is refreshed over all histories; the newcomers' vectors, made as long as the others, are encoded
    by the frozen tokenizer, and both take their rows. Everybody else keeps vector and id (TokenRec, section 2.5.2).

    Args:
      system: a system, trained or about to be.
      histories: all that is known; newcomers are numbered behind those that the system has, or have rows in it already.
      users: i64[*], who is new or has new events.
      items: i64[*], which are new.
    """
    record = embedder(system.config.embedder)
    fresh = record.refresh(system.embedding, histories, record.settings(system.config))
    vectors, ids = system.embedding.vectors, system.ids
    vectors = Vectors(
        _rows_set(vectors.user, users, scale_to_mean_length(fresh.user[users], vectors.user), histories.n_users),
        _rows_set(vectors.item, items, scale_to_mean_length(fresh.item[items], vectors.item), histories.n_items),
    )
    ids = ids.with_items(items, vectors.item[items])
    rows = vectors.user[users]
    if system.config.ids.users == "causal":  # made from histories whenever a user is asked about
        rows = of_each_user(histories, vectors.item)[users]
    ids = ids.with_users(users, rows)
    embedding = dataclasses.replace(system.embedding, vectors=vectors)
    return dataclasses.replace(system, embedding=embedding, ids=ids, histories=histories)


def _rows_set(rows: np.ndarray, which: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Rows padded with zeros to n, those of `which` taken from `values`."""
    out = np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]), rows.dtype)])
    out[which] = values
    return out
