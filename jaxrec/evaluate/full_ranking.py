"""The one door to measured ranks: every user of a part of the split, over all items, for scores and for lists."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxrec.evaluate.ranking import CUTOFFS, metrics, metrics_under_ties, rank_and_ties, rank_and_ties_in
from jaxrec.progress import Progress
from jaxrec.types import Array, Histories, Recommender, Split

Prompts = Callable[[np.ndarray], Array]
"""prompts(users i32[B]) -> source i32[B,S]: what a recommender is asked for these users, as wide as the longest."""
Scorer = Callable[[Histories, np.ndarray], Array]
"""score(histories, users i32[B]) -> f32[B,I]: how well each item would follow the histories of these users."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What one system did on one part of a split.

    Attributes:
      system: its name, as in the papers ("META ID", "item-kNN", ...).
      ranks: f32[U] in the order of the split's users; inf = not recommended, NaN = no target or not asked.
      seconds: how long ranking took, compiling included and training not.
      listed: how many items a recommendation held; None where every item was scored.
      tied: how many other items have the target's score, f32[U] as `ranks`; None where nobody counted.
      baseline: whether other systems of the table are held against it.
    """

    system: str
    ranks: np.ndarray
    seconds: float
    listed: int | None = None
    tied: np.ndarray | None = None
    baseline: bool = False

    def row(self) -> dict[str, Any]:
        """The line of results.json; cutoffs beyond the length of the lists are left out.

        "ties" holds the share of users whose target has a rival of the same score and `metrics_under_ties`, where an
        order of the tied items changes any metric.
        """
        ks = tuple(k for k in CUTOFFS if self.listed is None or k <= self.listed)
        asked = ~np.isnan(self.ranks)
        row = {"system": self.system, **metrics(self.ranks, ks), "n_users": int(asked.sum())}
        row["seconds"] = round(self.seconds, 2)
        if self.baseline:
            row["baseline"] = True
        if self.tied is not None and self.tied[asked].any():
            ties = metrics_under_ties(self.ranks, self.tied, ks)
            if ties["optimistic"] != ties["pessimistic"]:
                row["ties"] = {"share": float((self.tied[asked] > 0).mean()), **ties}
        return row


def evaluate_scores(
    system: str,
    score: Scorer,
    split: Split,
    part: str,
    *,
    mask_seen: bool = True,
    batch_users: int = 512,
    users: np.ndarray | None = None,
    baseline: bool = False,
) -> Result:
    """Ranks of a system that scores every item.

    Args:
      system: its name.
      score: score(histories, users i32[batch_users]) -> f32[batch_users,I]; always asked for full batches.
      split: whose targets and histories.
      part: "valid" or "test".
      mask_seen: leave the items of the history out of the ranking (never the target).
      batch_users: users scored at once.
      users: whom to ask, i32[n] without repeats; None asks all.
      baseline: whether other systems of the table are held against it.
    Raises:
      ValueError: no user asked has a target, or the scores have another shape.
    """
    histories = split.history(part)
    started = time.monotonic()

    def ranks(batch: np.ndarray) -> tuple[Array, Array]:
        scores = score(histories, batch)
        _check_shape(system, "scores", scores, (len(batch), histories.n_items))
        width = padded_width(int(_lengths(histories)[batch].max()))
        seen = seen_rows(histories, batch, width) if mask_seen else None
        return rank_and_ties(scores, split.target(part)[batch], seen)

    asked = _asked(split, part, users)
    asked = asked[np.argsort(_lengths(histories)[asked], kind="stable")]
    found, tied = _collect(system, ranks, asked, len(split.test), batch_users)
    return Result(system, found, time.monotonic() - started, tied=tied, baseline=baseline)


def evaluate_recommender(
    system: str,
    recommend: Recommender,
    prompts: Prompts,
    split: Split,
    part: str,
    *,
    k: int = max(CUTOFFS),
    mask_seen: bool = True,
    batch_users: int = 64,
    users: np.ndarray | None = None,
) -> Result:
    """Ranks of a system that lists k items for a prompt; a target outside the list has rank inf.

    Args:
      system: its name.
      recommend: recommend(source, seen i32[B,X] or None, k) -> TopK; B and X never change.
      prompts: prompts(users i32[batch_users]) -> source i32[batch_users,S].
      split: whose targets and histories.
      part: "valid" or "test".
      k: length of the lists, at most the number of items; metrics stop at this cutoff.
      mask_seen: hand the history to the recommender as items to leave out (never the target).
      batch_users: users asked at once.
      users: whom to ask, i32[n] without repeats; None asks all.
    Raises:
      ValueError: no user asked has a target, k is below the first cutoff or above the number of items, or the lists
        have another shape.
    """
    histories = split.history(part)
    if not min(CUTOFFS) <= k <= histories.n_items:
        raise ValueError(f"k={k} is not between {min(CUTOFFS)}, the first cutoff, and {histories.n_items} items")
    width = int(_lengths(histories).max())
    started = time.monotonic()

    def ranks(batch: np.ndarray) -> tuple[Array, Array]:
        target = split.target(part)[batch]
        seen = None
        if mask_seen:
            seen = seen_rows(histories, batch, width)
            seen = np.where(seen == target[:, None], -1, seen)
        topk = recommend(prompts(batch), seen, k)
        _check_shape(system, "recommended items", topk.items, (len(batch), k))
        return rank_and_ties_in(topk, target)

    found, tied = _collect(system, ranks, _asked(split, part, users), len(split.test), batch_users)
    return Result(system, found, time.monotonic() - started, listed=k, tied=tied)


def divided(result: Result, group: str, members: np.ndarray) -> list[Result]:
    """A result for some of the users alone, named "SYSTEM, GROUP"; none where it has no rank for any of them.

    Args:
      result: of all users.
      group: what to call them.
      members: bool[U].
    """
    ranks = np.where(members, result.ranks, np.nan)
    if np.isnan(ranks).all():
        return []
    return [dataclasses.replace(result, system=f"{result.system}, {group}", ranks=ranks)]


def padded_width(longest: int) -> int:
    """The power of two, at least 8, that holds `longest` items: few widths, so few traces.

    Batches of users of like lengths have little padding then.
    """
    return 1 << (max(longest, 8) - 1).bit_length()


def seen_rows(histories: Histories, users: np.ndarray, width: int) -> np.ndarray:
    """The last `width` items of each user as i32[B,width], oldest first, padded with -1 at the end."""
    lengths = np.minimum(_lengths(histories)[users], width)
    place = np.arange(width)
    held = place < lengths[:, None]
    rows = np.full(held.shape, -1, np.int32)
    rows[held] = histories.items[((histories.offsets[1:][users] - lengths)[:, None] + place)[held]]
    return rows


def _lengths(histories: Histories) -> np.ndarray:
    return np.diff(histories.offsets)


def _asked(split: Split, part: str, users: np.ndarray | None) -> np.ndarray:
    """The users to rank for: those asked that have a target, i64[n]."""
    if part not in ("valid", "test"):
        raise ValueError(f"part={part!r} is not one of valid, test")
    target = split.target(part)
    asked = np.arange(len(target)) if users is None else np.asarray(users)
    if asked.size and (asked.min() < 0 or asked.max() >= len(target) or len(np.unique(asked)) < len(asked)):
        raise ValueError(f"users must be different numbers from 0 to {len(target) - 1}, the users of this split")
    asked = asked[target[asked] >= 0]
    if not asked.size:
        raise ValueError(f"no user asked has a target in the {part} part of this split")
    return asked


def _collect(
    system: str,
    ranks: Callable[[np.ndarray], tuple[Array, Array]],
    asked: np.ndarray,
    n_users: int,
    batch_users: int,
) -> np.ndarray:
    """Ranks and ties of all asked users as f32[2,U]; one batch is read back while the next one runs."""
    found = np.full((2, n_users), np.nan, np.float32)
    waiting: tuple[np.ndarray, tuple[Array, Array]] | None = None
    with Progress(system, len(asked), unit="users", quiet=10.0) as progress:
        for number, batch in enumerate(_batches(asked, batch_users)):
            launched = batch, ranks(batch)
            if waiting is not None:
                found[:, waiting[0]] = waiting[1]
                progress.update(number * batch_users)
            waiting = launched
    assert waiting is not None  # `asked` is not empty
    found[:, waiting[0]] = waiting[1]
    return found


def _batches(asked: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Batches of one size, so that one trace serves all; the last is filled up with its last user."""
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        yield np.pad(batch, (0, size - len(batch)), mode="edge").astype(np.int32)


def _check_shape(system: str, what: str, found: Array, wanted: tuple[int, int]) -> None:
    if tuple(found.shape) != wanted:
        raise ValueError(
            f"{system}: {what} have shape {tuple(found.shape)}, wanted {wanted}: a row for each user asked; "
            "make the system from the same split"
        )
