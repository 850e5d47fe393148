"""Validation during training: HR@10 and NDCG@10 of the validation items by full ranking."""

from __future__ import annotations

import numpy as np

from jaxrec.evaluate.full_ranking import Scorer, evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.keys import generator
from jaxrec.types import Array, Histories, Split


def validation_metrics(ranks: Array) -> dict[str, float]:
    """The metrics used for model selection: {"hr@10": ..., "ndcg@10": ...}.

    Args:
      ranks: ranks of the validation items, f32[n], see `jaxrec.evaluate.ranking.metrics`.
    """
    return {name: value for name, value in metrics(ranks, (10,)).items() if not name.startswith("mrr")}


def validate_scores(score: Scorer, split: Split, users: np.ndarray | None = None) -> dict[str, float]:
    """`validation_metrics` of a system that scores every item, for `users` i64[n] or all."""
    return validation_metrics(evaluate_scores("validation", score, split, "valid", users=users).ranks)


def validation_users(split: Split, most: int, seed: int, *, stream: str = "validation") -> np.ndarray:
    """The users to validate on, i64[n], equal at every call.

    Args:
      split: the split with the validation items.
      most: maximum number of users, drawn at random; 0 takes all.
      seed: of the draw.
      stream: the random stream's name.
    Raises:
      ValueError: nobody has a validation item.
    """
    users = np.flatnonzero(split.valid >= 0)
    if not len(users):
        raise ValueError("nobody has a validation item to select weights by; is the split too small?")
    return generator(seed, stream).permutation(users)[:most] if 0 < most < len(users) else users


def validation_split(histories: Histories, valid: np.ndarray) -> Split:
    """A split with training events and validation items only.

    Args:
      histories: training events.
      valid: i32[U], -1 = none.
    Raises:
      ValueError: all are -1.
    """
    if not (valid >= 0).any():
        raise ValueError("valid holds no item that selects, all are -1; pass None to train without selection")
    no_events = Histories(np.zeros_like(histories.offsets), np.zeros(0, np.int32), histories.n_items)
    return Split.of(histories, valid, np.full_like(valid, -1), no_events, "validation")
