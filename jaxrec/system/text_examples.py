"""Training and validation examples of the text tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jaxrec.data.packing import packed
from jaxrec.embedders.fold_in import unit_rows
from jaxrec.keys import generator
from jaxrec.system.system import System
from jaxrec.tasks.writing_examples import TextEvents, WritingExamples
from jaxrec.training.state import PureLoss, Tree


def examples(system: System, rows: np.ndarray) -> WritingExamples:
    """Examples of all text tasks for the events `rows`, i64[*].

    Raises:
      ValueError: for a task, no event has the texts or ratings it needs.
    """
    material, tokens = with_user_tokens(system)
    return WritingExamples(
        system.vocabulary,
        material,
        rows,
        system.item_mentions,
        tokens,
        task=system.config.task,
        seed=system.config.seed,
    )


def validator(system: System, loss_fn: PureLoss) -> Callable[[Tree, Tree], dict[str, float]]:
    """A function (params, buffers) -> {"nll": mean negative log-likelihood per answer token of validation events}."""
    settings = system.config.train
    assert system.events is not None
    rows = system.events.valid
    if 0 < settings.validate_users < len(rows):
        rows = generator(system.config.seed, "validation events").permutation(rows)[: settings.validate_users]
    data = packed(
        examples(system, np.sort(rows)),
        rows=settings.rows,
        source_length=settings.source_length,
        target_length=settings.target_length,
        seed=system.config.seed,
    )
    compiled = jax.jit(lambda params, buffers, batch: loss_fn(params, buffers, batch, None)[1]["loss"])

    def validate(params: Tree, buffers: Tree) -> dict[str, float]:
        batches = iter(data)
        total, weight = 0.0, 0.0
        for _ in range(data.steps_per_epoch):
            batch = next(batches)
            batch_weight = float(batch.weights.sum())
            total += batch_weight * float(compiled(params, buffers, batch))
            weight += batch_weight
        return {"nll": total / weight}

    return validate


def with_user_tokens(system: System) -> tuple[TextEvents, np.ndarray | None]:
    """The run's events, and user-id tokens i32[*,1+L] that their `user` column indexes; None without users.

    The causal user id of an event is computed from the user's other training events, so that it contains neither the
    event itself nor any held-out event.
    """
    material = system.material
    assert material is not None
    if system.config.ids.users != "causal":
        codes = system.user_codes(system.split.train, np.arange(system.data.n_users))
        return material, None if codes is None else system.vocabulary.ids("<User>", codes).tokens
    vectors = _of_other_events(system)
    codes = system.ids.user_codes(vectors)
    tokens = system.vocabulary.ids("<User>", codes).tokens
    return dataclasses.replace(material, user=np.arange(len(material.user))), tokens


def _of_other_events(system: System) -> np.ndarray:
    """For every event the mean unit item vector of the user's other training events, f32[N,F]; zeros without any."""
    data, train = system.data, system.split.train
    units = unit_rows(system.embedding.vectors.item).astype(np.float64)
    sums, counts = np.zeros((data.n_users, units.shape[1])), np.bincount(train.users, minlength=data.n_users)
    np.add.at(sums, train.users, units[train.items])
    pair = data.user.astype(np.int64) * data.n_items + data.item
    in_train = np.isin(pair, train.users.astype(np.int64) * data.n_items + train.items)[:, None]
    others = sums[data.user] - np.where(in_train, units[data.item], 0)
    return (others / np.maximum(counts[data.user][:, None] - in_train, 1)).astype(np.float32)
