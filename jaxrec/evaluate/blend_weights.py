"""Weights of a blend: the likeliest ones, and a search around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import scipy.special

SHARES = tuple(number / 20 for number in range(20))
"""Weights that a component is tried with, the others' in proportion."""
ROUNDS = 4
"""Maximum number of times that every component's weight is varied."""
LEAST_LOG = -1e4
"""In the likelihood, log-probabilities of 0 count as this."""

Weights = tuple[float, ...]


def likeliest_weights(log_probs: np.ndarray, target: np.ndarray) -> Weights:
    """Weights of sum 1 in the proportions that minimise the negative log-likelihood of softmax(sum_m w_m log p_m).

    This is convex in the weights w_m >= 0, so there are no local minima; it is a multinomial logit model whose features
    are log-probabilities.

    Args:
      log_probs: of the components, f32[n,M,I].
      target: items, i32[n].
    Returns:
      M weights; equal ones where nothing is likelier than a uniform guess.
    """
    users, count = np.arange(len(target)), log_probs.shape[1]
    logs = np.maximum(log_probs, LEAST_LOG).astype(np.float64)
    of_target = logs[users, :, target]

    def nll(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.einsum("nmi,m->ni", logs, weights)
        normaliser = scipy.special.logsumexp(mixed, axis=1)
        expected = np.einsum("nmi,ni->nm", logs, np.exp(mixed - normaliser[:, None]))
        return float((normaliser - of_target @ weights).mean()), (expected - of_target).mean(axis=0)

    start = np.full(count, 1 / count)
    best = scipy.optimize.minimize(nll, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * count).x
    total = float(best.sum())
    return tuple(round(float(w) / total, 6) for w in best) if total > 0 else tuple(start.tolist())


def search_weights(
    n: int, values: Callable[[Sequence[Weights]], Sequence[float]], start: Weights | None = None
) -> tuple[Weights, tuple[tuple[Weights, float], ...]]:
    """Coordinate ascent over n weights of sum 1: the best weights, and all that were tried with their values.

    Starts from the best component alone, or from `start` where that is better. Then each component in turn gets each
    weight of `SHARES` while the others keep their proportions, and a better value replaces the best; until a round
    changes nothing, or after `ROUNDS` rounds. Of equal values the first counts.

    Args:
      n: number of weights.
      values: values(several weights) -> what to maximise, of each.
      start: weights to try first.
    """
    tries: dict[Weights, float] = {}

    def best_of(*candidates: Weights) -> Weights:
        if new := [weights for weights in dict.fromkeys(candidates) if weights not in tries]:
            tries.update(zip(new, values(new), strict=True))
        return max(candidates, key=lambda weights: tries[weights])

    alone = [tuple(float(m == one) for m in range(n)) for one in range(n)]
    best = best_of(*([start] if start else []), *alone)
    for _ in range(ROUNDS):
        before = best
        for m in range(n):
            rest = sum(best) - best[m]
            if rest > 0:
                varied = [
                    tuple(share if j == m else round(w / rest * (1 - share), 6) for j, w in enumerate(best))
                    for share in SHARES
                ]
                best = best_of(best, *varied)
        if best == before:
            break
    return best, tuple(tries.items())


def most_tries(n: int) -> int:
    """How many weights `search_weights` tries at most for n components."""
    return 1 + n * (1 + ROUNDS * len(SHARES))
