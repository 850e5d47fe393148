"""Fold-in: vectors of new users and items as means of unit vectors over their events, without training."""

from __future__ import annotations

import numpy as np

from jaxrec.types import Histories

BLOCK = 65_536  # users at a time; bounds the memory


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, f32[n,F]; rows of zeros stay."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.where(norm > 0, norm, 1)).astype(np.float32)


def scale_to_mean_length(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rows f32[n,F] scaled to the mean length of the nonzero rows of `reference` f32[m,F]; rows of zeros stay.

    Folded-in or refreshed vectors have the right direction but are shorter, which matters for distances.
    """
    length = np.linalg.norm(reference, axis=1)
    return unit_rows(rows) * np.float32(length[length > 0].mean() if length.any() else 0)


def before_each_event(histories: Histories, item: np.ndarray) -> np.ndarray:
    """For each event, the mean unit vector of the user's earlier items, f32[N,F]; zeros for the first event.

    The user's vector at the time that event is predicted, from which a causal user id is made.

    Args:
      histories: N events.
      item: item vectors, f32[I,F].
    """
    units = unit_rows(item)
    out = np.empty((histories.n_events, item.shape[1]), np.float32)
    for first in range(0, histories.n_users, BLOCK):
        bounds = histories.offsets[first : first + BLOCK + 1]
        rows = units[histories.items[bounds[0] : bounds[-1]]].astype(np.float64)  # float64 for long running sums
        sums = np.cumsum(rows, 0) - rows
        sizes = np.diff(bounds)
        begins = np.repeat(bounds[:-1] - bounds[0], sizes)
        position = np.arange(len(rows)) - begins
        out[bounds[0] : bounds[-1]] = (sums - sums[begins]) / np.maximum(position, 1)[:, None]
    return out


def of_each_user(histories: Histories, item: np.ndarray) -> np.ndarray:
    """The mean unit item vector over all events of a user, f32[U,F]; zeros for a user without events."""
    sizes = np.diff(histories.offsets)
    sums = np.zeros((histories.n_users, item.shape[1]), np.float64)
    np.add.at(sums, histories.users, unit_rows(item)[histories.items])
    return (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)


def of_each_item(histories: Histories, user: np.ndarray) -> np.ndarray:
    """The mean unit user vector over all events of an item, f32[I,F]; zeros for an item without events."""
    sums = np.zeros((histories.n_items, user.shape[1]), np.float64)
    np.add.at(sums, histories.items, unit_rows(user)[histories.users])
    counts = np.bincount(histories.items, minlength=histories.n_items)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
