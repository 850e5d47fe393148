"""Ragged arrays (rows of different lengths): vectorised slicing, padding and shuffling."""

from __future__ import annotations

import numpy as np

from jaxrec.types import Histories

Ragged = tuple[np.ndarray, np.ndarray]
"""Rows of different lengths: values i32[*] and offsets i64[n+1]."""


def ragged_take(pool: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
    """The rows pool[starts[i] : starts[i] + lengths[i]], concatenated.

    Args:
      pool: values [*].
      starts: i64[n].
      lengths: i64[n].
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return pool[np.repeat(starts, lengths) + within], offsets


def histories_of(histories: Histories, users: np.ndarray) -> Histories:
    """The histories of some users i64[n], in that order."""
    starts = histories.offsets[users]
    items, offsets = ragged_take(histories.items, starts, histories.offsets[np.asarray(users) + 1] - starts)
    return Histories(offsets, items, histories.n_items)


def pad_rows(rows: Ragged, length: int) -> np.ndarray:
    """Ragged rows as one array padded with 0, i32[n, length].

    Raises:
      ValueError: a row is longer than `length`.
    """
    values, offsets = rows
    sizes = np.diff(offsets)
    if len(sizes) and sizes.max() > length:
        raise ValueError(f"a row of {sizes.max()} tokens does not fit length={length}; raise the length")
    out = np.zeros((len(sizes), length), np.int32)
    out[np.arange(length) < sizes[:, None]] = values
    return out


def ragged_range(starts: np.ndarray, lengths: np.ndarray) -> Ragged:
    """The rows starts[i], starts[i] + 1, ..., starts[i] + lengths[i] - 1, concatenated."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets


def shuffle_rows(rows: Ragged, which: np.ndarray, draw: np.ndarray) -> Ragged:
    """Shuffles the values within some rows; the other rows stay as they are.

    Args:
      rows: the rows.
      which: bool[n], the rows to shuffle.
      draw: u64[n], random seed of each row: its order depends on this number alone, not on the other rows.
    """
    values, offsets = rows
    row = np.repeat(np.arange(len(which)), np.diff(offsets))
    place = np.arange(len(values), dtype=np.uint64) - offsets[row].astype(np.uint64)
    rank = np.where(which[row], _mixed(_mixed(draw)[row] + place), place)
    return values[np.lexsort((rank, row))], offsets


def _mixed(x: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele et al. 2014), a hash of u64 numbers."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
