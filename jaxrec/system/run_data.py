"""Loads a run's data: events, their splits, and the texts of the text tasks."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from jaxrec.config import Config
from jaxrec.data.load import load_interactions
from jaxrec.data.review_features import explanations, feature_words
from jaxrec.data.split import (
    hold_unseen,
    make_split,
    split_events,
    training_events_alone,
    withheld_events,
    without_ratings,
)
from jaxrec.tasks.writing_examples import TextEvents, stars_text
from jaxrec.types import EventSplit, Interactions, Split

CHOICES = 20
"""Maximum number of distinct ratings for the tasks that predict stars; each is a possible answer."""


def load_run_data(
    config: Config, folder: pathlib.Path
) -> tuple[Interactions, Split, EventSplit | None, TextEvents | None, int]:
    """Loads the data of a run and splits it.

    Ranking tasks use a leave-one-out or temporal split of histories, text tasks an 80/10/10 split of events. In a run
    with both, events held out for ranking are not used to train text tasks, and the embedder does not see the ratings
    of events held out for text tasks.

    Args:
      config: of the run.
      folder: of the run; the data file is also looked up there and in its parent.
    Returns:
      `data`, `split`, `events`, `material` and `skipped_rows` of `Run`.
    Raises:
      ValueError: the data can't be read, or lacks a column that a task needs, or has more than `CHOICES` distinct
        ratings for a task that predicts them.
    """
    data, notes = load_interactions(config.data, seed=config.seed, beside=(folder, folder.parent))
    events = None
    if config.task.ranking:
        split = make_split(data, config.data.split)
        split = hold_unseen(split, users=config.data.unseen_users, items=config.data.unseen_items, seed=config.seed)
    if config.task.writing:
        _check_columns(config, data)
        withheld = withheld_events(data, split) if config.task.ranking else None
        events = split_events(data, seed=config.seed, withheld=withheld)
        if config.task.ranking:
            split = without_ratings(split, data, np.concatenate([events.valid, events.test]))
        else:
            split = training_events_alone(data, events)
    if config.protocol != "strict":
        split = dataclasses.replace(split, protocol=config.protocol)
    material = None if events is None else _text_events(config, data, events)
    return data, split, events, material, notes.skipped


def _text_events(config: Config, data: Interactions, events: EventSplit) -> TextEvents:
    """Stars and texts of all events, for prompts and answers.

    Feature words are taken from training reviews, without those of each user's last two events, which leave-one-out
    holds out; so runs with and without ranking tasks have the same prompts and answers.
    """
    empty = np.full(data.n_events, "", object)
    text = data.text or {}
    review, summary = text.get("review", empty), text.get("summary", empty)
    ends = np.searchsorted(data.user, data.user, side="right")
    early = events.train[ends[events.train] - events.train > 2]
    features = feature_words(review[early].tolist()) if "explanation" in config.task.writing else []
    feature, sentence = explanations(review.tolist(), features) if features else (empty, empty)
    stars = empty if data.rating is None else np.array([stars_text(float(r)) for r in data.rating], object)
    return TextEvents(data.user.astype(np.int64), data.item.astype(np.int64), stars, feature, sentence, review, summary)


def _check_columns(config: Config, data: Interactions) -> None:
    """Checks that the data has the columns that the tasks need.

    Raises:
      ValueError: ratings, reviews or summaries are missing, or there are too many distinct ratings.
    """
    n_ratings = 0 if data.rating is None else len(np.unique(data.rating))
    if n_ratings > CHOICES and {"rating", "preference"} & set(config.task.writing):
        raise ValueError(
            f"the ratings of {config.data.path or 'the data'} take {n_ratings} different values, and each is a "
            f"possible answer: round them to at most {CHOICES}, or leave rating and preference out"
        )
    needs = {"rating": ("rating",), "preference": ("rating", "review")}
    needs |= {"explanation": ("review",), "review": ("review", "summary")}
    columns = {"rating"} if data.rating is not None else set()
    columns |= set(data.text or {})
    for task in config.task.writing:
        if missing := [column for column in needs[task] if column not in columns]:
            raise ValueError(
                f"task {task!r} needs the column {missing[0]}, which {config.data.path or 'the data'} does not have; "
                f"leave the task out, or name it: --data.columns {missing[0]}=..."
            )
