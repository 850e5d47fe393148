"""Requests to a trained system: recommendations, ratings and texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.inference import queries
from jaxrec.keys import generator
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.system.recommendation_lists import recommendation_list
from jaxrec.system.system import System
from jaxrec.system.text_tasks import Writer


def recommend(
    system: System,
    k: int,
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    task: str | None = None,
    exclude: Sequence[str] = (),
    allow: Sequence[str] | None = None,
    include_seen: bool | None = None,
) -> RecommendationList:
    """The best k items for a user of the data, or for somebody new with a history; its note says why there are fewer.

    Args:
      system: a trained system.
      k: number of items.
      user: the name of a user; for users of the run's data, the history is all but the test item.
      history: names of items, oldest first, instead of a user.
      task: one of the run's tasks; default its first.
      exclude: names of further items to leave out, besides those of the history.
      allow: names of the only items that may be listed; None: all.
      include_seen: whether items of the history may be listed; None: unless the config's eval.mask_seen is set.
    Raises:
      ValueError: both or neither of user and history are given, a name or the task is unknown, or k is out of range.
    """
    task = queries.ranking_task(system, task)
    queries.check_k(system, k)
    filters = {"exclude": exclude, "allow": allow, "include_seen": include_seen}
    asked = queries.query(system, queries.Names.of(system), user=user, history=history, **filters)
    top = queries.top_k(system, [asked], k, task)
    truth, who = -1, "somebody new"
    if asked.user is not None:
        held_out, who = system.split.test, f"user {user}"
        truth = int(held_out[asked.user]) if asked.user < len(held_out) else -1
    who = f"{who}, {queries.user_id(system, asked)}".removesuffix(", ")
    shown = recommendation_list(system, queries.history_of(system, asked), top, task, who, truth)
    return dataclasses.replace(shown, note=queries.why_fewer(system, asked, len(shown.items), k))


def ask(
    system: System, task: str, *, user: str, items: Sequence[str] = (), feature: str = "", review: str = ""
) -> list[tuple[str, str]]:
    """Predicts ratings or texts: (title of the item, answer) for each item, or ("", answer) about a review.

    Args:
      system: a trained system.
      task: one of the run's rating or text tasks.
      user: the name of a user.
      items: names of items; "rating" and "explanation" need at least one.
      feature: the feature word of an explanation.
      review: the text that "review" summarises and "preference" rates.
    Raises:
      ValueError: the task was not trained, a name is unknown, or an input of the task is missing.
    """
    data, trained = system.data, system.config.task.writing
    if task not in trained:
        raise ValueError(f"task {task!r} was not trained in this run; of those that write it has {trained or 'none'}")
    about_items = task in ("rating", "explanation")
    if about_items != bool(items):
        raise ValueError(
            f"task {task!r} is about " + ("items; give some" if about_items else "a review; leave items out")
        )
    who = numbers_of(data.user_names, [user], "user")[0]
    item_numbers = np.array(numbers_of(data.item_names, items, "item") if items else [0])
    answers = Writer(system).ask(task, who, item_numbers, feature=feature, review=review)
    titles = [str(data.titles()[item]) if about_items else "" for item in item_numbers]
    answer_texts = []
    for answer in answers:
        if "text" in answer:
            answer_texts.append(answer["text"])
        else:
            odds = ", ".join(f"{stars}: {odd:.0%}" for stars, odd in answer["odds"].items())
            answer_texts.append(f"{answer['stars']:.2f} stars ({odds})")
    return list(zip(titles, answer_texts, strict=True))


def examples(system: System, n: int) -> list[str]:
    """Names of a few users with a test item, drawn by the run's seed."""
    users = np.flatnonzero(system.split.test >= 0)
    drawn = generator(system.config.seed, "examples").permutation(users)[:n]
    return [str(system.data.user_names[user]) for user in drawn]


def numbers_of(names: np.ndarray, requested: Sequence[str], entity: str) -> list[int]:
    """The numbers of some names.

    Args:
      names: of all users or items, str[n].
      requested: names to look up.
      entity: "user" or "item", for messages.
    Raises:
      ValueError: a name is unknown.
    """
    return queries.numbers_in({str(name): i for i, name in enumerate(names)}, requested, entity)
