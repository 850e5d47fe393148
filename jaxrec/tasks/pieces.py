"""Cuts histories into pieces for models that predict every item of a sequence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxrec.types import Histories


class Pieces(NamedTuple):
    """Pieces of histories, each a slice of the events.

    Attributes:
      user: whose history a piece is of, i64[n].
      start: its first event, i64[n].
      size: number of its events that predict, i64[n].
    """

    user: np.ndarray
    start: np.ndarray
    size: np.ndarray


def cut(histories: Histories, length: int, *, ahead: int = 1) -> Pieces:
    """Cuts each history from its end into pieces of at most `length` predicting events.

    Every event except the first `ahead` of a user is a target of exactly one piece: event start + i predicts event
    start + i + `ahead`, from the events of its piece alone.

    Args:
      histories: of all users.
      length: maximum size of a piece.
      ahead: how many events later the target is.
    Raises:
      ValueError: nobody has more than `ahead` events.
    """
    counts = np.maximum(np.diff(histories.offsets) - ahead, 0)
    pieces = -(-counts // length)
    if not pieces.any():
        raise ValueError(f"no history holds {1 + ahead} events to learn from; is the training part of the split empty?")
    user = np.repeat(np.arange(histories.n_users), pieces)
    number = np.arange(len(user)) - (np.cumsum(pieces) - pieces)[user]  # 0 is a user's newest piece
    ends = histories.offsets[1:][user] - ahead - number * length  # just after the last predicting event
    starts = np.maximum(ends - length, histories.offsets[:-1][user])
    return Pieces(user, starts, ends - starts)
