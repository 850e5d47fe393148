"""Ranks of targets among all items, and HR, NDCG and MRR of them."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.types import Array, TopK

CUTOFFS = (5, 10, 20)


@jax.jit
def rank_of(scores: Array, target: Array, seen: Array | None = None) -> jax.Array:
    """Rank of each target among all items that were not seen; ties count half. See `rank_and_ties`."""
    return rank_and_ties(scores, target, seen)[0]


@jax.jit
def rank_and_ties(scores: Array, target: Array, seen: Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Rank of each target among all items that were not seen, and how many of them it shares its score with.

    rank = 1 + #(items scored higher) + #(other items scored the same) / 2, the mean over all orders of the tied
    items: a model that scores all items equally gets the middle rank.

    Args:
      scores: f32[B,I], higher is better. NaN counts as -inf, so a diverged model never ranks first.
      target: i32[B]; -1 = no target.
      seen: items that do not compete, i32[B,X], padded with -1, in any order, repeats allowed; or None. The target
        always competes, even where it was seen.
    Returns:
      ranks f32[B], 1 is best, in steps of a half, and the number of other items level with the target, f32[B]; NaN
      where there is no target.
    """
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    target_score = jnp.take_along_axis(scores, jnp.maximum(target, 0)[:, None], axis=1)
    above, level = (
        (scores > target_score).sum(axis=1),
        (scores == target_score).sum(axis=1) - 1,
    )  # the target is level with itself
    if seen is not None:
        # Subtracting the seen items costs B*X; a mask over the catalogue would cost B*I.
        seen = jnp.sort(seen, axis=1)
        first_occurrence = jnp.pad(seen[:, 1:] != seen[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        counted = first_occurrence & (seen >= 0) & (seen != target[:, None])
        seen_scores = jnp.take_along_axis(scores, jnp.maximum(seen, 0), axis=1)
        above -= (counted & (seen_scores > target_score)).sum(axis=1)
        level -= (counted & (seen_scores == target_score)).sum(axis=1)
    return _places(above, level, target)


@jax.jit
def rank_in(topk: TopK, target: Array) -> jax.Array:
    """Position of each target in a list of recommendations; ties count half. See `rank_and_ties_in`."""
    return rank_and_ties_in(topk, target)[0]


@jax.jit
def rank_and_ties_in(topk: TopK, target: Array) -> tuple[jax.Array, jax.Array]:
    """Position of each target in a list of recommendations, and how many listed items it shares its score with.

    Items of one score share their places, as in `rank_and_ties`; tied items beyond the end of the list are not counted.

    Args:
      topk: items i32[B,k], best first, -1 = none; scores f32[B,k].
      target: i32[B]; -1 = no target.
    Returns:
      positions f32[B], 1 is best, inf where the target is not listed; and other listed items level with it, f32[B];
      NaN where there is no target.
    """
    is_target = topk.items == target[:, None]
    position = jnp.argmax(is_target, axis=1)[:, None]
    level = (topk.scores == jnp.take_along_axis(topk.scores, position, axis=1)) & (topk.items >= 0) & ~is_target
    # By the list's order instead of scores, as the scores of a diverged model are NaN.
    above = (jnp.arange(topk.items.shape[1])[None] < position) & ~level
    ranks, tied = _places(above.sum(axis=1), level.sum(axis=1), target)
    listed = is_target.any(axis=1) | (target < 0)
    return jnp.where(listed, ranks, jnp.inf), jnp.where(listed, tied, 0.0)


def _places(above: jax.Array, level: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    # float32 represents halves exactly up to 2**23.
    above, level = above.astype(jnp.float32), level.astype(jnp.float32)
    return jnp.where(target >= 0, 1.0 + above + 0.5 * level, jnp.nan), jnp.where(target >= 0, level, jnp.nan)


def user_values(ranks: Array, metric: str) -> np.ndarray:
    """Each user's contribution to a metric, f64[n]; NaN without a target.

    With one target per user, HR@k = [rank < k + 1], NDCG@k = HR@k / log2(1 + rank), MRR@k = HR@k / rank. An integer
    rank is a hit up to k; rank k + 1/2, tied with one other item, lies partly within the first k and is a hit too.

    Args:
      ranks: f32[n]; inf = not recommended at all, NaN = no target.
      metric: "hr@5", "ndcg@10", "mrr@20", ...
    Raises:
      ValueError: the metric is none of these.
    """
    name, _, k = metric.partition("@")
    if name not in _GAINS or not k.isdigit():
        raise ValueError(f"metric {metric!r} is none of hr@k, ndcg@k, mrr@k with a number k; give hr@10, say")
    ranks = np.asarray(ranks, np.float64)
    return np.where(np.isnan(ranks), np.nan, (ranks < int(k) + 1) * _GAINS[name](ranks))


_GAINS = {"hr": np.ones_like, "ndcg": lambda ranks: 1 / np.log2(1 + ranks), "mrr": lambda ranks: 1 / ranks}


def metrics(ranks: Array, ks: tuple[int, ...] = CUTOFFS) -> dict[str, float]:
    """Mean hit rate, NDCG and reciprocal rank at each cutoff, over the users that have a target; see `user_values`.

    Args:
      ranks: f32[n]; inf = not recommended at all, NaN = no target (such users do not count).
      ks: the cutoffs.
    Returns:
      {"hr@5": ..., "ndcg@5": ..., "mrr@5": ..., "hr@10": ...}, each in [0, 1].
    Raises:
      ValueError: no user has a target, or a rank is below 1.
    """
    ranks = np.asarray(ranks, np.float64)
    ranks = ranks[~np.isnan(ranks)]
    if ranks.size == 0:
        raise ValueError("ranks hold no user with a target; nothing can be measured on this part of the split")
    if ranks.min() < 1:
        raise ValueError(f"ranks start at 1, but one is {ranks.min():g}; pass the output of rank_of or rank_in")
    return {f"{name}@{k}": float(user_values(ranks, f"{name}@{k}").mean()) for k in ks for name in _GAINS}


def metrics_under_ties(
    ranks: Array, tied: Array, ks: tuple[int, ...] = CUTOFFS
) -> dict[Literal["optimistic", "expected", "pessimistic"], dict[str, float]]:
    """`metrics` with each target before its tied items, after them, and in expectation over all their orders.

    The expectation is of the metric, whereas `metrics` takes the metric of the mean rank: if two items share ranks k
    and k + 1, each is half a hit at k.

    Args:
      ranks: f32[n], as for `metrics`.
      tied: number of other items with the target's score, f32[n].
      ks: the cutoffs.
    """
    ranks, tied = np.asarray(ranks, np.float64), np.asarray(tied, np.float64)
    has_target = ~np.isnan(ranks)
    first, last = ranks[has_target] - tied[has_target] / 2, ranks[has_target] + tied[has_target] / 2
    expected = {}
    for k in ks:
        # sums[n] is the gain of the first n ranks; a group of tied items shares ranks `before` + 1 to `through`.
        before, through = (np.minimum(place, k).astype(np.int64) for place in (first - 1, last))
        for name, gain in _GAINS.items():
            sums = np.concatenate([[0.0], np.cumsum(gain(np.arange(1.0, k + 1)))])
            expected[f"{name}@{k}"] = float(((sums[through] - sums[before]) / (tied[has_target] + 1)).mean())
    return {"optimistic": metrics(first, ks), "expected": expected, "pessimistic": metrics(last, ks)}
