"""Intervals against SciPy's, against every resample there is, and where there is nothing to tell."""

import itertools

import numpy as np
import pytest
import scipy.stats

from jaxrec.evaluate.bootstrap import paired_bootstrap


def pair(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Values as of NDCG@10: most are zero."""
    rng = np.random.default_rng(0)
    ours, theirs = (np.where(rng.random(n) < share, 1 / np.log2(1 + rng.integers(1, 11, n)), 0) for share in (0.3, 0.2))
    return ours, theirs


def test_equals_scipys_paired_percentile_interval() -> None:
    ours, theirs = pair(60)
    actual = paired_bootstrap(ours, theirs, resamples=40_000)
    expected = scipy.stats.bootstrap(
        (ours, theirs),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=40_000,
        rng=np.random.default_rng(1),
    )
    low, high = expected.confidence_interval
    # An end's own deviation over such resamplings is about 1.4 % of the width of half the interval.
    tolerance = 0.06 * (high - low) / 2
    assert actual.low == pytest.approx(low, abs=tolerance)
    assert actual.high == pytest.approx(high, abs=tolerance)
    assert actual.difference == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert actual.n_users == 60


def test_resamples_are_spread_as_all_of_them_together() -> None:
    """Five users: the quantiles of all 5^5 resamples, at levels that fall between their steps."""
    ours, theirs = np.array([1.0, 0.0, 0.5, 0.0, 0.0]), np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    means = [np.mean(drawn) for drawn in itertools.product(ours - theirs, repeat=5)]
    for level in (0.5, 0.8, 0.95):
        actual = paired_bootstrap(ours, theirs, level=level)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        assert (actual.low, actual.high) == pytest.approx((low, high))


def test_without_a_difference_there_is_no_width() -> None:
    ours, _ = pair(30)
    same = paired_bootstrap(ours, ours)
    assert (same.difference, same.low, same.high, same.n_users) == (0, 0, 0, 30)
    everywhere = paired_bootstrap(np.ones(30), np.zeros(30))
    assert (everywhere.difference, everywhere.low, everywhere.high) == (1, 1, 1)


def test_who_was_not_asked_in_one_is_left_out_of_both() -> None:
    ours, theirs = pair(40)
    kept = paired_bootstrap(ours[2:], theirs[2:])
    ours[0], theirs[1] = np.nan, np.nan
    assert paired_bootstrap(ours, theirs) == kept


def test_a_seed_gives_one_interval_however_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair(500)
    first = paired_bootstrap(ours, theirs, seed=3)
    assert paired_bootstrap(ours, theirs, seed=3) == first
    assert paired_bootstrap(ours, theirs, seed=4) != first
    monkeypatch.setattr("jaxrec.evaluate.bootstrap.DRAWS", 999)  # a row or a few at a time
    small = paired_bootstrap(ours, theirs, seed=3)
    assert (small.low, small.high) == pytest.approx((first.low, first.high), abs=0.1 * (first.high - first.low))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"both values of each user.*\(3,\) and \(4,\)"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="no user has a value in both"):
        paired_bootstrap(np.array([np.nan, 1]), np.array([1, np.nan]))
    with pytest.raises(ValueError, match="level=95"):
        paired_bootstrap(np.zeros(3), np.zeros(3), level=95)
