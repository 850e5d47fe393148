"""Three baselines that only count: popularity, item-kNN and transitions. They take seconds and are in every table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sparse

from jaxrec.evaluate.blending import Component
from jaxrec.evaluate.full_ranking import Result, Scorer, evaluate_scores
from jaxrec.types import Histories, Split

STEPS = 5
DECAY = 0.6


def popularity_scorer(train: Histories) -> Scorer:
    """Every item scored by its number of training events."""
    counts = np.bincount(train.items, minlength=train.n_items).astype(np.float32)

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        _check(train, histories)
        return np.broadcast_to(counts, (len(users), len(counts)))

    return score


def item_knn_scorer(train: Histories) -> Scorer:
    """Cosine between items over their training users, summed over the history (Sarwar et al. 2001).

    K = D^-1/2 A'A D^-1/2 without its diagonal; A is the binary training matrix [U,I], D the items' degrees, at least 1.
    """
    similar = _similarity(train)

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        _check(train, histories)
        return weighted(histories, users, decay=1.0, items=similar)

    return score


def transition_scorer(train: Histories) -> Scorer:
    """Counts of what followed within five steps in training, plus half the item-kNN; recent items weigh most.

    T[a,b] sums 1/g over every b that came g = 1..5 steps after a in a training history, divided by the square roots of
    its row and column sums (at least 1). The score is the sum over the history of 0.6^age (T + K/2), with age 0 for the
    newest.
    """
    follows = (_transitions(train) + 0.5 * _similarity(train)).tocsr()

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        _check(train, histories)
        return weighted(histories, users, decay=DECAY, items=follows)

    return score


COUNTED_BASELINES: dict[str, Callable[[Histories], Scorer]] = {
    "popularity": popularity_scorer,
    "item-kNN": item_knn_scorer,
    "transitions": transition_scorer,
}


def evaluate_baselines(
    split: Split, part: str, *, mask_seen: bool = True, users: np.ndarray | None = None
) -> list[Result]:
    """The three baselines, trained on `split.train` alone; arguments as for `evaluate_scores`."""
    return [
        evaluate_scores(name, build(split.train), split, part, mask_seen=mask_seen, users=users, baseline=True)
        for name, build in COUNTED_BASELINES.items()
    ]


def counted_components(names: Sequence[str], train: Histories) -> list[Component]:
    """Counted baselines as components of blends: the items' shares of the scores.

    Args:
      names: in `COUNTED_BASELINES`.
      train: what they count.
    """
    scorers = {name: COUNTED_BASELINES[name](train) for name in names}
    return [Component(name, score, score, "shares") for name, score in scorers.items()]


def _similarity(train: Histories) -> sparse.csr_matrix:
    """The cosine matrix K of `item_knn_scorer`, f64[I,I]."""
    scale = sparse.diags(np.maximum(_sums(_had(train), axis=0), 1.0) ** -0.5)
    return (scale @ common_users(train) @ scale).tocsr()


def _had(train: Histories) -> sparse.csr_matrix:
    """The binary matrix of events, f64[U,I]."""
    had = sparse.csr_matrix((np.ones(train.n_events), (train.users, train.items)), (train.n_users, train.n_items))
    had.data[:] = 1.0  # repeated events were summed
    return had


def common_users(train: Histories) -> sparse.csr_matrix:
    """Numbers of users who had both of two different items, f64[I,I]."""
    had = _had(train)
    counts = (had.T @ had).tocsr()
    counts.setdiag(0.0)
    counts.eliminate_zeros()
    return counts


def followers(train: Histories) -> sparse.csr_matrix:
    """Sums of 1/g over every item b that came g = 1..5 steps after an item a in a history, f64[I,I]."""
    users, items = train.users, train.items
    total = sparse.csr_matrix((train.n_items, train.n_items))
    for step in range(1, STEPS + 1):
        same = users[step:] == users[:-step]
        before, after = items[:-step][same], items[step:][same]
        total = total + sparse.csr_matrix((np.full(len(before), 1.0 / step), (before, after)), total.shape)
    return total.tocsr()


def _transitions(train: Histories) -> sparse.csr_matrix:
    """The matrix T of `transition_scorer`, f64[I,I]."""
    total = followers(train)
    rows = sparse.diags(np.maximum(_sums(total, axis=1), 1.0) ** -0.5)
    columns = sparse.diags(np.maximum(_sums(total, axis=0), 1.0) ** -0.5)
    return (rows @ total @ columns).tocsr()


def weighted(histories: Histories, users: np.ndarray, *, decay: float, items: sparse.csr_matrix) -> np.ndarray:
    """Sum over each user's history of decay^age times the item's row, f32[B,I].

    Summed in float64 and rounded once, so that sums that are equal in exact arithmetic stay ties in float32.
    """
    lengths = (histories.offsets[1:] - histories.offsets[:-1])[users]
    ends = np.cumsum(lengths)
    age = np.repeat(ends, lengths) - 1 - np.arange(ends[-1] if len(ends) else 0)
    events = np.repeat(histories.offsets[np.asarray(users) + 1], lengths) - 1 - age
    columns = histories.items[events]
    weights = sparse.csr_matrix((decay**age, columns, np.concatenate([[0], ends])), (len(users), histories.n_items))
    return sparse.csr_matrix(weights @ items, dtype=np.float32).toarray()


def _sums(matrix: sparse.csr_matrix, axis: int) -> np.ndarray:
    return np.asarray(matrix.sum(axis=axis)).ravel()


def _check(train: Histories, histories: Histories) -> None:
    if train.n_items != histories.n_items:
        raise ValueError(
            f"histories are over {histories.n_items} items, but the baseline was built on {train.n_items}; "
            "take both from one split"
        )
