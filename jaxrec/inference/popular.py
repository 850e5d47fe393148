"""Popular items for somebody of whom nothing is known, on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.inference import queries
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.system.recommendation_lists import item_label
from jaxrec.system.system import System
from jaxrec.text import quoted
from jaxrec.types import Histories, Interactions


def popular_items(
    system: System, k: int, *, user: str, exclude: Sequence[str] = (), allow: Sequence[str] | None = None
) -> RecommendationList:
    """The k items with most events in the users' current histories, labelled as that; of equals, the first ones.

    Args:
      system: a trained system; popularity is no part of its model.
      k: number of items.
      user: an unknown user's name, for the heading.
      exclude: names of items to leave out.
      allow: names of the only items that may be listed; None: all.
    Raises:
      ValueError: an item's name is unknown, or k is out of range.
    """
    queries.check_k(system, k)
    asked = queries.query(system, queries.Names.of(system), history=(), exclude=exclude, allow=allow)
    allowed = queries.allowed_items(system, [asked])[0]
    shown = popular_list(system.data, system.histories, allowed, k, user, system.item_name)
    return dataclasses.replace(shown, note=queries.why_fewer(system, asked, len(shown.items), k))


def popular_list(
    data: Interactions,
    histories: Histories,
    allowed: np.ndarray,
    k: int,
    user: str,
    item_name: Callable[[int], str] = lambda item: "",
) -> RecommendationList:
    """The k allowed items with most events in the histories, labelled as that; of equals, the first ones.

    Args:
      data: names and titles.
      histories: whose events are counted.
      allowed: which items may be listed, bool[I].
      k: number of items.
      user: an unknown user's name, for the heading.
      item_name: item_name(i) -> the item's id tokens.
    """
    counts = np.bincount(histories.items, minlength=data.n_items)
    order = np.argsort(-counts, kind="stable")
    best = order[allowed[order]][:k]
    items = [(item_label(data, i), item_name(i), float(counts[i]), False) for i in best]
    who = f"user {quoted(user)} is unknown, so these are the most popular items, the same for everybody"
    return RecommendationList(who, [], items, "number of events", [int(i) for i in best])
