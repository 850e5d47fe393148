"""Groups of users and their hit rates, counted again by a loop."""

import itertools

import numpy as np
import pytest

from jaxrec.report.sections.hit_rate_groups import by_group


def test_groups_are_those_of_a_loop() -> None:
    draw = np.random.default_rng(0)
    ranks = draw.choice([1.0, 3.0, 10.5, 11.0, np.inf, np.nan], 500)
    numbers = draw.integers(0, 40, 500)
    groups = by_group(ranks, numbers, most=4)
    assert 2 <= len(groups) <= 4
    assert sum(g.users for g in groups) == int((~np.isnan(ranks)).sum())
    for before, after in itertools.pairwise(groups):
        assert before.high < after.low
    for group in groups:
        hits = [r < 11 for r, n in zip(ranks, numbers) if group.low <= n <= group.high and not np.isnan(r)]
        assert len(hits) == group.users
        assert group.rate == pytest.approx(np.mean(hits))
        assert 0 <= group.interval[0] < group.rate < group.interval[1] <= 1
    same = by_group(ranks, np.full(500, 7))
    assert [(g.low, g.high) for g in same] == [(7, 7)]
    assert by_group(np.full(3, np.nan), np.arange(3)) == []
