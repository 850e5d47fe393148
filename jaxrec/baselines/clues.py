"""Counts that a re-ranker reads beside the scores of a blend: what came after, before or with the last items."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from jaxrec.baselines.counted import DECAY, common_users, followers, weighted
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.reranking import Clues
from jaxrec.types import Histories

FOLLOWED = 3
"""Last items of a history whose followers are counted, each by itself."""
ACCOMPANIED = 2
"""Last items of a history whose users' other items are counted, each by itself."""


def count_clues(train: Histories) -> Clues:
    """The clues of training events.

    Of each of the last three items, how often another one followed within five steps, each weighed by 1/steps; of each
    of the last two, how many users had it and another one; and of the whole history, how often another item came before
    its items within five steps, weighed by 0.6^age.

    Args:
      train: what is counted.
    """
    after, together = followers(train), common_users(train)
    before = after.T.tocsr()

    def came_before(histories: Histories, users: np.ndarray) -> np.ndarray:
        return weighted(histories, users, decay=DECAY, items=before)

    scorers = (
        *(_rows_of(after, age) for age in range(FOLLOWED)),
        *(_rows_of(together, age) for age in range(ACCOMPANIED)),
        came_before,
    )
    return Clues(scorers, np.bincount(train.items, minlength=train.n_items))


def _rows_of(counts: sparse.csr_matrix, age: int) -> Scorer:
    """Scores by the row of the item that is `age` places before the last; 0 where the history is shorter."""

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        lengths = np.diff(histories.offsets)[users]
        there = np.flatnonzero(lengths > age)
        items = histories.items[histories.offsets[1:][users[there]] - 1 - age]
        rows = np.zeros((len(users), histories.n_items), np.float32)
        rows[there] = counts[items].toarray()
        return rows

    return score
