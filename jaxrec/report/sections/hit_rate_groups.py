"""Section "Who is served well": HR@10 by how much training holds of the user and of the held-out item."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrec.report.charts.bar_chart import bar_chart
from jaxrec.report.page import Figure, Section, render
from jaxrec.report.sections.results import best_baseline
from jaxrec.types import Split


class Group(NamedTuple):
    """HR@10 of users with similar numbers: the numbers' range, how many users, the hit rate and its interval."""

    low: int
    high: int
    users: int
    rate: float
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class GroupChart:
    """A chart and its numbers.

    Attributes:
      figure: bars of each group, a series for each system.
      number: what the groups are formed by.
      rows: by group its name, how many users it has, and one Group a system.
    """

    figure: Figure
    number: str
    rows: list[tuple[str, int, list[Group]]]


def by_group(ranks: np.ndarray, numbers: np.ndarray, most: int = 5) -> list[Group]:
    """HR@10 in groups of about equally many users, formed by a number of each user.

    Args:
      ranks: rank of each user's held-out item, from 1, f32[U]; NaN where the user was not measured.
      numbers: i64[U].
      most: groups at most.
    Returns:
      Groups from the lowest numbers to the highest; intervals are Wilson's 95% intervals.
    """
    measured = ~np.isnan(ranks)
    numbers, hits = numbers[measured], ranks[measured] < 11  # a rank of 10.5 is a hit, as in `ranking.metrics`
    if not len(numbers):
        return []
    edges = np.unique(np.quantile(numbers, np.arange(1, most) / most, method="lower"))
    group_of_user = np.searchsorted(edges, numbers, side="left")
    groups = []
    for group in np.unique(group_of_user):
        members = group_of_user == group
        n, rate, z = int(members.sum()), float(hits[members].mean()), 1.96
        middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
        interval = max(0.0, float(middle - half)), min(1.0, float(middle + half))
        groups.append(Group(int(numbers[members].min()), int(numbers[members].max()), n, rate, interval))
    return groups


def hit_rate_section(split: Split, report: dict[str, Any], ranks: Mapping[str, np.ndarray]) -> Section:
    """HR@10 of the method and of the best baseline, by the user's and by the held-out item's training events.

    Args:
      split: what was trained on and what was held out.
      report: what results.json holds.
      ranks: by system the ranks of ranks.npz, f32[U].
    """
    target = split.target(report["part"])
    events = np.bincount(split.train.items, minlength=split.train.n_items)
    best = best_baseline(report)
    systems = [report["rows"][0]["system"], *([best["system"]] if best else [])]
    ranks = {name: ranks[name] for name in systems if name in ranks}
    charts = [
        _chart("HR@10 by user activity", "training events of the user", np.diff(split.train.offsets), ranks),
        _chart(
            "HR@10 by item popularity",
            "training events of the item",
            np.where(target >= 0, events[target], 0),
            ranks,
        ),
    ]
    return Section("served", "Who is served well", render("hit_rate_groups.html", charts=charts))


def _chart(title: str, number: str, numbers: np.ndarray, ranks: Mapping[str, np.ndarray]) -> GroupChart:
    groups = {name: by_group(of_users, numbers) for name, of_users in ranks.items()}
    first = next(iter(groups.values()), [])  # the same users were measured for every system, so groups are the same
    names = [f"{group.low:,}" if group.low == group.high else f"{group.low:,}–{group.high:,}" for group in first]
    chart = bar_chart(
        names,
        {system: [group.rate for group in row] for system, row in groups.items()},
        intervals={system: [group.interval for group in row] for system, row in groups.items()},
        notes=[f"n={group.users:,}" for group in first],
        label=title,
        x=number,
        y="HR@10",
    )
    rows = [(name, first[n].users, [row[n] for row in groups.values()]) for n, name in enumerate(names)]
    return GroupChart(Figure(title, chart, legend=list(groups)), number, rows)
