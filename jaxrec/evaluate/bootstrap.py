"""Paired bootstrap over users: confidence intervals of the difference of two systems."""

from __future__ import annotations

import dataclasses

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
DRAWS = 2_000_000
"""Users drawn at a time, about 50 MB."""


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
    """Percentile interval of mean(ours - theirs) over users resampled with replacement (Efron and Tibshirani 1993).

    Most users have a difference of 0. The number of such users in a resample is binomial and adds nothing to the sum,
    so only the other users are drawn one by one.

    Args:
      ours: each user's contribution to a metric, f64[U], see `jaxrec.evaluate.ranking.user_values`; NaN = no value.
      theirs: the same of the other system, in the same order; users with a NaN in either are left out.
      seed: of the resamples.
      resamples: number of resamples.
      level: confidence level, in (0, 1).
    Raises:
      ValueError: shapes differ, no user is left, or `resamples` or `level` is out of range.
    """
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"a pair needs both values of each user, f64[U]; got {ours.shape} and {theirs.shape}")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples} must be at least 1 and level={level} between 0 and 1")
    differences = np.asarray(ours, np.float64) - theirs
    differences = differences[~np.isnan(differences)]
    n = len(differences)
    if not n:
        raise ValueError("no user has a value in both systems; measure them on the same part of one split")
    nonzero = differences[differences != 0]
    generator, means = np.random.default_rng(seed), np.empty(resamples)
    chunk = max(1, DRAWS // max(len(nonzero), 1))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        counts = generator.binomial(n, len(nonzero) / n, size=rows)
        drawn = nonzero[generator.integers(0, max(len(nonzero), 1), counts.sum(), np.int32)]
        sums = np.bincount(np.repeat(np.arange(rows), counts), drawn, rows)
        means[start : start + rows] = sums / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(differences.mean()), float(low), float(high), n)
