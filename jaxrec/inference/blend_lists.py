"""Recommendation lists of a blend, with the share of each part in each item's score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.inference.blends import BlendedParts
from jaxrec.inference.popular import popular_list
from jaxrec.inference.queries import none_left
from jaxrec.inference.service import numbers_of
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.system.recommendation_lists import item_label
from jaxrec.types import Histories

HISTORY_SHOWN = 20
"""Maximum number of history items in a list."""


def recommend(
    blended: BlendedParts,
    k: int,
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    allow: Sequence[str] | None = None,
    include_seen: bool | None = None,
    popular_if_unknown: bool = False,
) -> tuple[RecommendationList, list[dict[str, float]]]:
    """The best k items for a user of the data, or for somebody new with a history.

    Args:
      blended: parts and weights.
      k: number of items.
      user: name of a user; the history is all but the test item.
      history: names of items, oldest first, instead of a user.
      exclude: names of further items to leave out, besides those of the history.
      allow: names of the only items that may be listed; None: all.
      include_seen: whether items of the history may be listed; None: unless the runs' eval.mask_seen is set.
      popular_if_unknown: for a user whose name is unknown, list the most popular items, labelled as such.
    Returns:
      The list, whose scores are weighted means of log-probabilities; and for each item the share of each part of
      weight above 0, see `shares`, no shares of popular items for an unknown user.
    Raises:
      ValueError: both or neither of user and history are given, a name is unknown, k is out of range, or a part can't
        score somebody new.
    """
    if (user is None) == (history is None):
        raise ValueError("give either a user's name or a history, names of items")
    data, split = blended.run.data, blended.run.split
    if not 1 <= k <= data.n_items:
        raise ValueError(f"k={k} is not between 1 and the {data.n_items} items of this catalogue")
    allowed = np.full(data.n_items, allow is None)
    allowed[numbers_of(data.item_names, allow or (), "item")] = True
    allowed[numbers_of(data.item_names, exclude, "item")] = False
    if popular_if_unknown and user is not None and user not in data.user_names:
        shown = popular_list(data, split.history("test"), allowed, k, user)
        return _with_note(shown, k, allow), [{} for _ in shown.items]
    if user is None:
        items = np.asarray(numbers_of(data.item_names, history or [], "item"), np.int32)
        number, histories = None, Histories(np.array([0, len(items)]), items, data.n_items)
    else:
        number, histories = numbers_of(data.user_names, [user], "user")[0], split.history("test")
        items = histories.of(number)
    held_out = -1 if number is None else int(split.test[number])
    log_probs = _log_probs(blended, histories, number)
    scores = blended.blend.scores(log_probs, histories, np.array([number or 0]))[0].copy()
    mask_seen = blended.run.config.eval.mask_seen if include_seen is None else not include_seen
    allowed[items if mask_seen else []] = False
    scores[~allowed] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    best = best[scores[best] > -np.inf]
    by_item = shares(blended, log_probs, best)
    rows = [
        (item_label(data, i), _percentages(by_part), float(scores[i]), i == held_out)
        for i, by_part in zip(best.tolist(), by_item, strict=True)
    ]
    shown = RecommendationList(
        "somebody new" if user is None else f"user {user}",
        [(item_label(data, i), "") for i in items[-HISTORY_SHOWN:].tolist()],
        rows,
        f"weighted log-probability of {blended.name}",
        best.tolist(),
    )
    return _with_note(shown, k, allow), by_item


def _with_note(shown: RecommendationList, k: int, allow: Sequence[str] | None) -> RecommendationList:
    """The list with a note why it is shorter than k, if it is."""
    return dataclasses.replace(shown, note=none_left(len(shown.items), k, some_allowed=allow is not None))


def shares(blended: BlendedParts, log_probs: Sequence[np.ndarray], items: np.ndarray) -> list[dict[str, float]]:
    """The share of each part in the scores of some items, before a re-ranker; parts of weight 0 are left out.

    A part lifts an item by its weight times the difference of its log-probability from the mean over the catalogue.
    The shares are these lifts divided by the sum of their absolute values: below 0 where the part speaks against the
    item, all 0 where no part tells items apart.

    Args:
      blended: parts and weights.
      log_probs: of each part, f32[1,I].
      items: i64[n].
    """
    weights = blended.blend.named_weights
    lifts = {
        name: weight * (logs[0, items] - logs[0].mean(dtype=np.float64))
        for (name, weight), logs in zip(weights.items(), log_probs, strict=True)
        if weight
    }
    total = np.sum([np.abs(lift) for lift in lifts.values()], axis=0)
    total = np.where(total > 0, total, 1)
    return [{name: float(lift[n] / total[n]) for name, lift in lifts.items()} for n in range(len(items))]


def _percentages(by_part: dict[str, float]) -> str:
    """Shares as text: "META ID 62%, transitions 38%"."""
    return ", ".join(f"{name} {round(100 * share)}%" for name, share in by_part.items())


def _log_probs(blended: BlendedParts, histories: Histories, number: int | None) -> list[np.ndarray]:
    """Each part's log-probabilities, f32[1,I], for a user's number or, where it is None, for the only history.

    Parts that take no part are not asked; theirs are 0.

    Raises:
      ValueError: a part can't score somebody new.
    """
    log_probs = []
    for component, takes_part in zip(blended.blend.components, blended.blend.takes_part, strict=True):
        if not takes_part:
            log_probs.append(np.zeros((1, histories.n_items), np.float32))
            continue
        score = component.score if number is not None else component.score_new
        if score is None:
            raise ValueError(
                f"{component.name} has parameters for each user of the data and none for somebody new; give a user"
            )
        log_probs.append(component.log_probs(np.asarray(score(histories, np.array([number or 0], np.int32)))))
    return log_probs
