"""A system's recommendations for one user, as people read them."""

from __future__ import annotations

from jaxrec.models.retriever import Retriever
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.system.system import System
from jaxrec.types import Histories, TopK


def listing(system: System, histories: Histories, top: TopK, task: str, who: str, truth: int) -> RecommendationList:
    """The first list of `top` beside the history that it was made from, in the words of the data.

    Args:
      system: what recommended.
      histories: of the user, the first of them.
      top: what was recommended, the user's in the first row.
      task: of the prompt; "direct" shows no history.
      who: whom the list is for, for people.
      truth: the held-out item's number, -1 where there is none.
    """
    data = system.data

    def label(item: int) -> str:
        name, title = str(data.item_names[item]), str(data.titles()[item])
        return name if name == title else f"{title} ({name})"

    shown = () if task == "direct" else histories.of(0)[-system.config.task.max_history :]
    return RecommendationList(
        who,
        [(label(i), system.item_name(i)) for i in shown],
        [
            (label(i), system.item_name(i), float(score), bool(i == truth))
            for i, score in zip(top.items[0], top.scores[0])
            if i >= 0
        ],
        "cosine" if isinstance(system.model, Retriever) else "log-probability",
        [int(i) for i in top.items[0] if i >= 0],
    )
