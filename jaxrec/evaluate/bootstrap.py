"""Paired bootstrap over users: how far apart two systems are, and how far apart chance could have put them."""

from __future__ import annotations

import dataclasses

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
DRAWS = 2_000_000
"""Users that are drawn at a time: some 50 MB."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean difference and its percentile interval at `LEVEL`, over `n_users` users."""

    difference: float
    low: float
    high: float
    n_users: int


def paired_bootstrap(
    ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Percentile interval of mean(ours - theirs) over users drawn again with replacement (Efron and Tibshirani 1993).

    Most users' targets are found by neither system. How often such users are drawn is binomial and adds nothing, so
    that only the others are drawn one by one.

    Args:
      ours: what each user adds to a metric, f64[U], as from `jaxrec.evaluate.ranking.user_values`; NaN = not asked.
      theirs: the same of the other system, in the same order; who is NaN in one of them is left out of both.
      seed: of the resamples.
      resamples: how many.
      level: share of the resampled means between the interval's ends.
    Raises:
      ValueError: shapes differ, no user is left, or `resamples` or `level` is out of range.
    """
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"a pair needs both values of each user, f64[U]; came {ours.shape} and {theirs.shape}")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples} must be at least 1 and level={level} between 0 and 1")
    differences = np.asarray(ours, np.float64) - theirs
    differences = differences[~np.isnan(differences)]
    n = len(differences)
    if not n:
        raise ValueError("no user has a value in both systems; measure them on the same part of one split")
    values = differences[differences != 0]
    generator, means = np.random.default_rng(seed), np.empty(resamples)
    chunk = max(1, DRAWS // max(len(values), 1))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        often = generator.binomial(n, len(values) / n, size=rows)
        drawn = values[generator.integers(0, max(len(values), 1), often.sum(), np.int32)]
        sums = np.bincount(np.repeat(np.arange(rows), often), drawn, rows)
        means[start : start + rows] = sums / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(differences.mean()), float(low), float(high), n)
