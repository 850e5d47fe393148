"""One user's recommendations in readable form: names, titles, ids and scores."""

from __future__ import annotations

from jaxrec.models.retriever import Retriever
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.system.system import System
from jaxrec.types import Histories, Interactions, TopK


def recommendation_list(
    system: System, histories: Histories, top: TopK, task: str, who: str, truth: int
) -> RecommendationList:
    """The first list of `top`, and the history it is based on, with the names and titles of the data.

    Args:
      system: that recommended.
      histories: the user's history is the first.
      top: the user's list is the first row.
      task: of the prompt; a list of "direct" shows no history.
      who: heading, such as the user's name.
      truth: number of the held-out item, -1 where there is none.
    """
    data = system.data
    history = () if task == "direct" else histories.of(0)[-system.config.task.max_history :]
    return RecommendationList(
        who,
        [(item_label(data, i), system.item_name(i)) for i in history],
        [
            (item_label(data, i), system.item_name(i), float(score), bool(i == truth))
            for i, score in zip(top.items[0], top.scores[0])
            if i >= 0
        ],
        "cosine" if isinstance(system.model, Retriever) else "log-probability",
        [int(i) for i in top.items[0] if i >= 0],
    )


def item_label(data: Interactions, item: int) -> str:
    """The title and, where it differs, the name of an item: "Title (name)"."""
    name, title = str(data.item_names[item]), str(data.titles()[item])
    return name if name == title else f"{title} ({name})"
