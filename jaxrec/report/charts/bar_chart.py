"""Bars of groups, side by side or stacked, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from jaxrec.report.charts.axes import BOTTOM, PlotArea, draw_axes, ticks
from jaxrec.report.charts.svg import HEIGHT, coordinate, element, empty_picture, picture, with_tooltip
from jaxrec.report.formatting import number

Interval = tuple[float, float]


def bar_chart(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    label: str,
    x: str,
    y: str,
    intervals: Mapping[str, Sequence[Interval]] | None = None,
    notes: Sequence[str] | None = None,
    stacked: bool = False,
) -> Markup:
    """Bars that start at zero; one whose value is not finite is left out.

    Series n has the class `s{n}`, from which the style sheet makes its colour.

    Args:
      groups: their names; written below the bars if there are at most eight.
      series: a value a group, at least 0, by name.
      label: what is shown, for readers who cannot see it.
      x: name of the horizontal axis.
      y: name of the vertical axis.
      intervals: (low, high) of each bar by series, drawn as whiskers.
      notes: a second line below each group.
      stacked: whether a group's bars stand on each other instead of side by side.
    """
    values = np.array([list(row) for row in series.values()], float).reshape(len(series), len(groups))
    if not np.isfinite(values).any():
        return empty_picture(label)
    heights = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(heights.sum(axis=0).max() if stacked else heights.max())
    ends = [high for row in (intervals or {}).values() for _, high in row if np.isfinite(high)]
    highest = max([highest, *ends])
    y_ticks = ticks(0.0, highest) if highest > 0 else [0.0, 0.5, 1.0]
    area = PlotArea((0, len(groups)), (0.0, y_ticks[-1]))
    few = len(groups) <= 8
    extra_height = 16 if few and notes else 0 if few else -22
    elements = [draw_axes(area, [], y_ticks, x, y, extra_height)]
    group_width = 0.74 if few else 0.9
    width = group_width if stacked else group_width / max(len(series), 1)
    floor = np.zeros(len(groups))
    for n, name in enumerate(series):
        bars = []
        for group in np.flatnonzero(np.isfinite(values[n])).tolist():
            left = group + (1 - group_width) / 2 + (0 if stacked else n * width)
            interval = intervals[name][group] if intervals and name in intervals else None
            bars += _bar(area, left, width, floor[group], values[n, group], f"{name}, {groups[group]}", interval)
        if stacked:
            floor += heights[n]
        elements.append(element("g", *bars, class_=f"bar s{n}"))
    if few:
        elements += _group_names(area, groups, notes)
    return picture(label, elements, extra_height=extra_height)


def _bar(
    area: PlotArea, left: float, width: float, floor: float, value: float, name: str, interval: Interval | None
) -> list[Markup]:
    """A bar, with its whisker where its interval is finite."""
    tooltip, whiskers = f"{name}: {number(value)}", []
    if interval is not None and np.isfinite(interval).all():
        tooltip += f" ({number(interval[0])} to {number(interval[1])})"
        middle = coordinate(area.across(left + width / 2))
        low, high = (coordinate(area.down(end)) for end in interval)
        whiskers.append(element("path", d=f"M{middle} {low}V{high}", class_="whisker"))
    top = area.down(floor + value)
    bar = with_tooltip(
        "rect",
        tooltip,
        x=coordinate(area.across(left)),
        y=coordinate(top),
        width=coordinate(area.across(width) - area.across(0)),
        height=coordinate(area.down(floor) - top),
    )
    return [bar, *whiskers]


def _group_names(area: PlotArea, groups: Sequence[str], notes: Sequence[str] | None) -> list[Markup]:
    elements = []
    for n, name in enumerate(groups):
        place = {"x": coordinate(area.across(n + 0.5)), "text_anchor": "middle"}
        elements.append(element("text", name, y=HEIGHT - BOTTOM + 16, **place))
        if notes:
            elements.append(element("text", notes[n], y=HEIGHT - BOTTOM + 31, **place, class_="soft"))
    return elements
