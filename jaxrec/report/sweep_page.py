"""A page about a sweep: each field's values beside the validation metric, all settings, and the test results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.report.charts.bar_chart import bar_chart
from jaxrec.report.charts.line_chart import line_chart
from jaxrec.report.charts.scatter_plot import scatter_plot
from jaxrec.report.page import Figure, Section, render, render_page

Settings = Mapping[str, Any]
"""Values by the dotted names of config fields."""
MOST_LINES = 4
"""Lines in a chart at most, as many as there are colours."""
WIDE = 50.0
"""Positive values whose largest is this many times the smallest are drawn at their logarithms."""


def sweep_page(
    lead: str,
    settings: Sequence[Settings],
    values: Sequence[float],
    texts: Sequence[str],
    *,
    metric: str,
    test: Sequence[tuple[str, Sequence[str]]],
    test_columns: Sequence[str],
    command: str,
) -> str:
    """The page, HTML that loads nothing from elsewhere; TokenRec's figures 4 and 5 for one's own fields.

    Args:
      lead: data, protocol and seeds.
      settings: all settings, best first, with equal keys; the first was chosen.
      values: validation metric of each setting; not finite where a loss was not.
      texts: the same as text.
      metric: its name, "NDCG@10".
      test: rows of the test results: name of the system, and a text a column.
      test_columns: names of these columns.
      command: the command line that made it.
    """
    rows = [([_text(value) for value in setting.values()], text) for setting, text in zip(settings, texts, strict=True)]
    content = render(
        "sweep.html",
        fields=list(settings[0]),
        rows=rows,
        metric=metric,
        figures=[_figure(field, settings, values, metric) for field in settings[0]],
    )
    tested = render("sweep_test.html", rows=test, columns=test_columns, command=command)
    sections = [Section("settings", "Settings", content), Section("test", "Test items", tested)]
    return render_page("Sweep", lead, sections, footer="Written by jaxrec sweep.")


def _text(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _figure(field: str, settings: Sequence[Settings], values: Sequence[float], metric: str) -> Figure:
    """The metric by a field's values: lines for the values of another field, the best of several, or all settings."""
    label = f"{metric} of the validation items by {field}"
    numeric = all(isinstance(s[field], int | float) and not isinstance(s[field], bool) for s in settings)
    distinct = {name: len({_text(s[name]) for s in settings}) for name in settings[0]}
    if numeric and math.prod(distinct.values()) > len(settings):  # drawn, not all combinations
        xs, name = _axis(field, [float(s[field]) for s in settings])
        places = [str(place) for place in range(1, len(settings) + 1)]
        chart = scatter_plot(xs, values, places, label=label, x=name, y=metric)
        return Figure(field, chart, note="Each setting, with its place in the table.")
    others = [other for other in settings[0] if other != field]
    split_by = others[0] if len(others) == 1 and distinct[others[0]] <= MOST_LINES else None
    lines: dict[str, dict[Any, float]] = {}  # by the name of a line the best metric with each value
    for setting, value in zip(settings, values, strict=True):
        points = lines.setdefault(f"{split_by} {_text(setting[split_by])}" if split_by else field, {})
        x = float(setting[field]) if numeric else _text(setting[field])
        points[x] = max(points.get(x, -math.inf), value)
    lines = dict(sorted(lines.items()))
    note = f"The best setting with each value; {', '.join(others)} vary." if others else ""
    note = f"A line for each {split_by}." if split_by else note
    groups = list(dict.fromkeys(x for points in lines.values() for x in points))
    if not numeric:
        bars = {name: [points.get(x, math.nan) for x in groups] for name, points in lines.items()}
        return Figure(field, bar_chart(groups, bars, label=label, x=field, y=metric), note=note, legend=list(lines))
    groups.sort()
    xs, name = _axis(field, groups)
    series = {line: (xs, [points.get(x, math.nan) for x in groups]) for line, points in lines.items()}
    return Figure(field, line_chart(series, label=label, x=name, y=metric), note=note, legend=list(lines))


def _axis(field: str, values: list[float]) -> tuple[list[float], str]:
    """Where values are drawn, and the axis's name: at their logarithms if they are positive and far apart."""
    if min(values) > 0 and max(values) / min(values) >= WIDE:
        return [math.log10(value) for value in values], f"{field}, as a power of ten"
    return values, field
