"""Ratings and texts: what a run knows of its events, and what a system is taught of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jaxrec.data.features import explanations, feature_words
from jaxrec.data.pipeline import packed
from jaxrec.keys import generator
from jaxrec.methods.run import Run
from jaxrec.methods.system import System
from jaxrec.tasks.writing import Material, WritingExamples, stars_text
from jaxrec.tokenizers.fold_in import unit_rows
from jaxrec.train.state import PureLoss, Tree


def material(run: Run) -> Material:
    """What may be told or asked of the run's events.

    Feature words are found in the 80% of the events that don't select or test, so that runs with other tasks ask and
    want the same; those of them that leave-one-out holds back name features and teach nothing else.
    """
    assert run.events is not None
    data, empty = run.data, np.full(run.data.n_events, "", object)
    text = data.text or {}
    review, summary = text.get("review", empty), text.get("summary", empty)
    known = np.sort(np.concatenate([run.events.train, run.events.kept_out]))
    features = feature_words(review[known].tolist()) if "explanation" in run.config.task.writing else []
    feature, sentence = explanations(review.tolist(), features) if features else (empty, empty)
    stars = empty if data.rating is None else np.array([stars_text(float(r)) for r in data.rating], object)
    return Material(data.user.astype(np.int64), data.item.astype(np.int64), stars, feature, sentence, review, summary)


def examples(system: System, rows: np.ndarray) -> WritingExamples:
    """Examples of all tasks that write, about some events i64[*].

    Raises:
      ValueError: a task can be asked of none of them.
    """
    known, tokens = named(system, material(system.run))
    return WritingExamples(
        system.vocabulary,
        known,
        rows,
        system.item_tokens,
        tokens,
        task=system.run.config.task,
        seed=system.run.config.seed,
    )


def validator(system: System, loss_fn: PureLoss) -> Callable[[Tree, Tree], dict[str, float]]:
    """A function of parameters and buffers: the mean negative log-likelihood of validation answers' tokens."""
    run, settings = system.run, system.run.config.train
    assert run.events is not None
    rows = run.events.valid
    if 0 < settings.validate_users < len(rows):
        rows = generator(run.config.seed, "validation events").permutation(rows)[: settings.validate_users]
    data = packed(
        examples(system, np.sort(rows)),
        rows=settings.rows,
        source_length=settings.source_length,
        target_length=settings.target_length,
        seed=run.config.seed,
    )
    compiled = jax.jit(lambda params, buffers, batch: loss_fn(params, buffers, batch, None)[1]["loss"])

    def validate(params: Tree, buffers: Tree) -> dict[str, float]:
        batches = iter(data)
        total, weight = 0.0, 0.0
        for _ in range(data.steps_per_epoch):
            batch = next(batches)
            here = float(batch.weights.sum())
            total, weight = total + here * float(compiled(params, buffers, batch)), weight + here
        return {"nll": total / weight}

    return validate


def named(system: System, known: Material) -> tuple[Material, np.ndarray | None]:
    """The material with rows of the users' tokens, and those tokens; None where prompts hold no user ids.

    A causal id is made of the user's other training events: an event that teaches is not in it, as one that tests
    never is.
    """
    run, table = system.run, system.ids.users
    if run.config.ids.users == "none":
        return known, None
    if run.config.ids.users == "static":
        return known, system.vocabulary.ids("<User>", table).tokens
    vectors = _of_other_events(system)
    codes = dataclasses.replace(table, values=system.ids.encode(vectors, "user", unique=False))
    return dataclasses.replace(known, user=np.arange(len(known.user))), system.vocabulary.ids("<User>", codes).tokens


def _of_other_events(system: System) -> np.ndarray:
    """For every event the mean over the user's training events but itself, f32[N,F]; zeros where there is none."""
    data, train = system.run.data, system.run.split.train
    units = unit_rows(system.embedding.vectors.item).astype(np.float64)
    sums, counts = np.zeros((data.n_users, units.shape[1])), np.bincount(train.users, minlength=data.n_users)
    np.add.at(sums, train.users, units[train.items])
    pair = data.user.astype(np.int64) * data.n_items + data.item
    mine = np.isin(pair, train.users.astype(np.int64) * data.n_items + train.items)[:, None]
    others = sums[data.user] - np.where(mine, units[data.item], 0)
    return (others / np.maximum(counts[data.user][:, None] - mine, 1)).astype(np.float32)
