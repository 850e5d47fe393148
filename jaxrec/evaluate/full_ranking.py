"""Full ranking: the rank of each user's target among all items, from scores or from recommendation lists."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxrec.evaluate.ranking import CUTOFFS, metrics, metrics_under_ties, rank_and_ties, rank_and_ties_in
from jaxrec.evaluate.seen_items import MOST_CELLS, history_lengths, rank_among_unseen, seen_rows
from jaxrec.progress import Progress
from jaxrec.types import Array, Histories, Recommender, Split

Prompts = Callable[[np.ndarray], Array]
"""prompts(users i32[B]) -> source i32[B,S]: the prompts of these users, padded to the longest."""
Scorer = Callable[[Histories, np.ndarray], Array]
"""score(histories, users i32[B]) -> f32[B,I]: scores of all items as the next item of these users."""


@dataclasses.dataclass(frozen=True)
class Result:
    """Ranks of one system on one part of a split.

    Attributes:
      system: its name, as in the papers ("META ID", "item-kNN", ...).
      ranks: f32[U] in the order of the split's users; inf = not recommended, NaN = no target or not evaluated.
      seconds: time of ranking, with compilation and without training.
      listed: number of items in a recommendation list; None if every item was scored.
      tied: number of other items with the target's score, f32[U] as `ranks`; None if not counted.
      baseline: whether other systems of the table are compared with it.
      blended: whether it is a blend of several systems.
    """

    system: str
    ranks: np.ndarray
    seconds: float
    listed: int | None = None
    tied: np.ndarray | None = None
    baseline: bool = False
    blended: bool = False

    def row(self) -> dict[str, Any]:
        """The system's row of results.json; cutoffs beyond the length of the lists are left out.

        If the order of tied items changes a metric, "ties" holds `metrics_under_ties` and the share of users whose
        target is tied.
        """
        ks = tuple(k for k in CUTOFFS if self.listed is None or k <= self.listed)
        evaluated = ~np.isnan(self.ranks)
        row = {"system": self.system, **metrics(self.ranks, ks), "n_users": int(evaluated.sum())}
        row["seconds"] = round(self.seconds, 2)
        if self.baseline:
            row["baseline"] = True
        if self.blended:
            row["blended"] = True
        if self.tied is not None and self.tied[evaluated].any():
            ties = metrics_under_ties(self.ranks, self.tied, ks)
            if ties["optimistic"] != ties["pessimistic"]:
                row["ties"] = {"share": float((self.tied[evaluated] > 0).mean()), **ties}
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
      score: score(histories, users i32[batch_users]) -> f32[batch_users,I]; always called with full batches.
      split: targets and histories.
      part: "valid" or "test".
      mask_seen: leave the items of the history out of the ranking (never the target).
      batch_users: users per batch.
      users: the users to evaluate, i32[n] without repeats; None takes all.
      baseline: whether other systems of the table are compared with it.
    Raises:
      ValueError: no evaluated user has a target, or the scores have another shape.
    """
    histories = split.history(part)
    started = time.monotonic()

    def ranks(batch: np.ndarray) -> tuple[Array, Array]:
        scores = score(histories, batch)
        _check_shape(system, "scores", scores, (len(batch), histories.n_items))
        target = split.target(part)[batch]
        return rank_among_unseen(scores, target, histories, batch) if mask_seen else rank_and_ties(scores, target)

    evaluated = _users_with_target(split, part, users)
    evaluated = evaluated[np.argsort(history_lengths(histories)[evaluated], kind="stable")]
    all_ranks, tied = _collect(system, ranks, evaluated, len(split.test), batch_users)
    return Result(system, all_ranks, time.monotonic() - started, tied=tied, baseline=baseline)


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
      recommend: recommend(source, seen i32[B,X] or None, k) -> TopK; B and X never change, but for users whose
        histories are so long that a batch of them would not fit into memory.
      prompts: prompts(users i32[batch_users]) -> source i32[batch_users,S].
      split: targets and histories.
      part: "valid" or "test".
      k: length of the lists, at most the number of items; metrics stop at this cutoff.
      mask_seen: pass the history to the recommender as items to leave out (never the target).
      batch_users: users per batch.
      users: the users to evaluate, i32[n] without repeats; None takes all.
    Raises:
      ValueError: no evaluated user has a target, k is below the first cutoff or above the number of items, or the lists
        have another shape.
    """
    histories = split.history(part)
    if not min(CUTOFFS) <= k <= histories.n_items:
        raise ValueError(f"k={k} is not between {min(CUTOFFS)}, the first cutoff, and {histories.n_items} items")
    lengths, started = history_lengths(histories), time.monotonic()

    def ranks(batch: np.ndarray, width: int) -> tuple[Array, Array]:
        target = split.target(part)[batch]
        seen = None
        if mask_seen:
            seen = seen_rows(histories, batch, width)
            seen = np.where(seen == target[:, None], -1, seen)
        topk = recommend(prompts(batch), seen, k)
        _check_shape(system, "recommended items", topk.items, (len(batch), k))
        return rank_and_ties_in(topk, target)

    evaluated = _users_with_target(split, part, users)
    # One width for all, so that one trace serves all; rows that would not fit into memory with it are a group apart.
    narrow = lengths[evaluated] <= max(MOST_CELLS // batch_users, 1)
    if not mask_seen or int(lengths.max()) * batch_users <= MOST_CELLS:
        narrow[:] = True
    all_ranks = np.full((2, len(split.test)), np.nan, np.float32)
    for group in (evaluated[narrow], evaluated[~narrow]):
        if len(group):
            width = int((lengths if narrow.all() else lengths[group]).max())
            rows = batch_users if narrow.all() else min(batch_users, len(group), max(MOST_CELLS // max(width, 1), 1))
            ranks_of_group = _collect(system, functools.partial(ranks, width=width), group, len(split.test), rows)
            all_ranks[:, group] = ranks_of_group[:, group]
    return Result(system, all_ranks[0], time.monotonic() - started, listed=k, tied=all_ranks[1])


def result_of_group(result: Result, group: str, members: np.ndarray) -> list[Result]:
    """The result of a group of users, named "SYSTEM, GROUP", in a list; empty if none of them has a rank.

    Args:
      result: of all users.
      group: the group's name.
      members: bool[U].
    """
    ranks = np.where(members, result.ranks, np.nan)
    if np.isnan(ranks).all():
        return []
    return [dataclasses.replace(result, system=f"{result.system}, {group}", ranks=ranks)]


def results_of_groups(results: Sequence[Result], split: Split, part: str) -> list[Result]:
    """`result_of_group` of every result for users seen and unseen, and for targets seen and unseen, where any are."""
    groups = {}
    if split.unseen_users.any():
        groups |= {"seen users": ~split.unseen_users, "unseen users": split.unseen_users}
    if split.unseen_items.any():
        unseen = split.unseen_items[split.target(part)]
        groups |= {"seen items": ~unseen, "unseen items": unseen}
    return [
        subset for name, mask in groups.items() for result in results for subset in result_of_group(result, name, mask)
    ]


def _users_with_target(split: Split, part: str, users: np.ndarray | None) -> np.ndarray:
    """The users to evaluate: those given (or all) that have a target, i64[n]."""
    if part not in ("valid", "test"):
        raise ValueError(f"part={part!r} is not one of valid, test")
    target = split.target(part)
    chosen = np.arange(len(target)) if users is None else np.asarray(users)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= len(target) or len(np.unique(chosen)) < len(chosen)):
        raise ValueError(f"users must be different numbers from 0 to {len(target) - 1}, the users of this split")
    chosen = chosen[target[chosen] >= 0]
    if not chosen.size:
        raise ValueError(f"no evaluated user has a target in the {part} part of this split")
    return chosen


def _collect(
    system: str,
    ranks: Callable[[np.ndarray], tuple[Array, Array]],
    evaluated: np.ndarray,
    n_users: int,
    batch_users: int,
) -> np.ndarray:
    """Ranks and ties of the evaluated users, f32[2,U]; a batch is read back while the next one runs."""
    ranks_and_ties = np.full((2, n_users), np.nan, np.float32)
    previous: tuple[np.ndarray, tuple[Array, Array]] | None = None
    with Progress(system, len(evaluated), unit="users", quiet=10.0) as progress:
        for number, batch in enumerate(_batches(evaluated, batch_users)):
            launched = batch, ranks(batch)
            if previous is not None:
                ranks_and_ties[:, previous[0]] = previous[1]
                progress.update(number * batch_users)
            previous = launched
    assert previous is not None  # `asked` is not empty
    ranks_and_ties[:, previous[0]] = previous[1]
    return ranks_and_ties


def _batches(evaluated: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Batches of equal size, so that one trace serves all; the last is padded with its last user."""
    for start in range(0, len(evaluated), size):
        batch = evaluated[start : start + size]
        yield np.pad(batch, (0, size - len(batch)), mode="edge").astype(np.int32)


def _check_shape(system: str, what: str, values: Array, expected: tuple[int, int]) -> None:
    if tuple(values.shape) != expected:
        raise ValueError(
            f"{system}: {what} have shape {tuple(values.shape)}, expected {expected}, a row for each user; "
            "make the system from the same split"
        )
