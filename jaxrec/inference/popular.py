"""Popular items for somebody of whom nothing is known, on demand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxrec.inference import queries
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.system.recommendation_lists import item_label
from jaxrec.system.system import System
from jaxrec.text import quoted


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
    counts = np.bincount(system.histories.items, minlength=system.data.n_items)
    order = np.argsort(-counts, kind="stable")
    best = order[queries.allowed_items(system, [asked])[0][order]][:k]
    data = system.data
    items = [(item_label(data, i), system.item_name(i), float(counts[i]), False) for i in best]
    note = queries.why_fewer(system, asked, len(items), k)
    who = f"user {quoted(user)} is unknown, so these are the most popular items, the same for everybody"
    return RecommendationList(who, [], items, "number of events", [int(i) for i in best], note)
