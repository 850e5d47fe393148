"""Where the target stands among all items, and what HR, NDCG and MRR make of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.types import Array, TopK

CUTOFFS = (5, 10, 20)


@jax.jit
def rank_of(scores: Array, target: Array, seen: Array | None = None) -> jax.Array:
    """Rank of each target among all items that were not seen; ties count half.

    rank = 1 + #(items scored higher) + #(other items scored the same) / 2, the mean over all orders of the tied
    items: a model that scores everything alike gets the middle, never the top.

    Args:
      scores: f32[B,I], higher is better. NaN counts as -inf, so a model that breaks never ranks first.
      target: i32[B]; -1 = no target.
      seen: items that do not compete, i32[B,X], padded with -1, in any order, repeats allowed; or None. The target
        always competes, even where it was seen.
    Returns:
      f32[B], 1 is best, in steps of a half; NaN where there is no target.
    """
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    goal = jnp.take_along_axis(scores, jnp.maximum(target, 0)[:, None], axis=1)
    # The target ties with itself, which is the half that 0.5 lacks to 1. Floats hold halves exactly up to 2**23.
    rank = 0.5 + _ahead(scores, goal).sum(axis=1)
    if seen is not None:
        # Taking the seen items back out costs B*X; a mask over the catalogue would cost B*I.
        seen = jnp.sort(seen, axis=1)
        first = jnp.pad(seen[:, 1:] != seen[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        counted = first & (seen >= 0) & (seen != target[:, None])
        seen_scores = jnp.take_along_axis(scores, jnp.maximum(seen, 0), axis=1)
        rank -= jnp.where(counted, _ahead(seen_scores, goal), 0.0).sum(axis=1)
    return jnp.where(target >= 0, rank, jnp.nan)


def _ahead(scores: jax.Array, goal: jax.Array) -> jax.Array:
    """How many places each item pushes the target back: 1 above it, 1/2 level with it, else 0; f32[B,n]."""
    return jnp.where(scores > goal, 1.0, jnp.where(scores == goal, 0.5, 0.0))


@jax.jit
def rank_in(topk: TopK, target: Array) -> jax.Array:
    """Position of each target in a list of recommendations.

    Args:
      topk: items i32[B,k], best first, -1 = none.
      target: i32[B]; -1 = no target.
    Returns:
      f32[B], 1 is best, inf where the target is not listed, NaN where there is no target.
    """
    found = topk.items == target[:, None]
    position = jnp.where(found.any(axis=1), 1.0 + jnp.argmax(found, axis=1), jnp.inf)
    return jnp.where(target >= 0, position, jnp.nan).astype(jnp.float32)


def metrics(ranks: Array, ks: tuple[int, ...] = CUTOFFS) -> dict[str, float]:
    """Mean hit rate, NDCG and reciprocal rank at each cutoff, over the users that have a target.

    With one target a user, HR@k = [rank < k + 1], NDCG@k = HR@k / log2(1 + rank), MRR@k = HR@k / rank. A whole rank is
    a hit up to k; one of k + 1/2, shared with one other item, still stands partly within the first k and is a hit too.

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
    found = {}
    for k in ks:
        hit = ranks < k + 1
        found[f"hr@{k}"] = float(hit.mean())
        found[f"ndcg@{k}"] = float((hit / np.log2(1 + ranks)).mean())
        found[f"mrr@{k}"] = float((hit / ranks).mean())
    return found
