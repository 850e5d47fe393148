"""Items of users' histories as padded rows, in blocks of bounded memory: one user with a million events is one row."""

from __future__ import annotations

import numpy as np

from jaxrec.evaluate.ranking import rank_and_ties
from jaxrec.types import Array, Histories

MOST_CELLS = 2**25
"""Most entries of a block of rows, 128 MB."""


def padded_width(longest: int) -> int:
    """The smallest power of two that is at least `longest` and at least 8: few widths, so few traces.

    Batches of users with similar lengths have little padding.
    """
    return 1 << (max(longest, 8) - 1).bit_length()


def seen_rows(histories: Histories, users: np.ndarray, width: int) -> np.ndarray:
    """The last `width` items of each user as i32[B,width], oldest first, padded with -1 at the end."""
    lengths = np.minimum(history_lengths(histories)[users], width)
    position = np.arange(width)
    filled = position < lengths[:, None]
    rows = np.full(filled.shape, -1, np.int32)
    rows[filled] = histories.items[((histories.offsets[1:][users] - lengths)[:, None] + position)[filled]]
    return rows


def history_lengths(histories: Histories) -> np.ndarray:
    """Number of events of each user, i64[U]."""
    return np.diff(histories.offsets)


def blocks(lengths: np.ndarray) -> list[np.ndarray]:
    """Positions 0..n-1 in blocks whose padded rows have at most `MOST_CELLS` entries; a longer row is one of its own.

    One block, in order, where all rows fit; otherwise sorted by length and halved, so that few shapes are compiled.

    Args:
      lengths: of the rows, i64[n].
    """
    if len(lengths) * padded_width(int(lengths.max(initial=0))) <= MOST_CELLS:
        return [np.arange(len(lengths))]

    def halved(positions: np.ndarray) -> list[np.ndarray]:
        if len(positions) * padded_width(int(lengths[positions[-1]])) <= MOST_CELLS or len(positions) == 1:
            return [positions]
        middle = len(positions) // 2
        return [*halved(positions[:middle]), *halved(positions[middle:])]

    return halved(np.argsort(lengths, kind="stable"))


def rank_among_unseen(
    scores: Array, target: np.ndarray, histories: Histories, users: np.ndarray
) -> tuple[Array, Array]:
    """`rank_and_ties` among the items that are not in the users' histories.

    Args:
      scores: f32[B,I].
      target: i32[B], -1 = none.
      histories: of all users.
      users: i32[B]; repeats cost nothing.
    """
    lengths = history_lengths(histories)
    rows = blocks(lengths[users])
    if len(rows) == 1:
        return rank_and_ties(scores, target, seen_rows(histories, users, padded_width(int(lengths[users].max()))))
    _, first, inverse = np.unique(users, return_index=True, return_inverse=True)
    ranks = np.zeros((2, len(first)), np.float32)
    for block in blocks(lengths[users[first]]):
        own = first[block]
        width = padded_width(int(lengths[users[own]].max()))
        ranks[:, block] = rank_and_ties(scores[own], target[own], seen_rows(histories, users[own], width))
    return ranks[0, inverse], ranks[1, inverse]
