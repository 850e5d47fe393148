"""A page about a sweep: each field's values beside the validation metric, all settings, and the test results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

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
    values: Sequence[Sequence[float | None]],
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
      values: validation metric of each setting, seed by seed; None where a loss was not finite.
      metric: its name, "NDCG@10".
      test: rows of the test results: name of the system, and a text a column.
      test_columns: names of these columns.
      command: the command line that made it.
    """
    means = [_mean(by_seed) for by_seed in values]
    rows = [
        ([_text(value) for value in setting.values()], mean, _spread(by_seed))
        for setting, mean, by_seed in zip(settings, means, values, strict=True)
    ]
    content = render(
        "sweep.html",
        fields=list(settings[0]),
        rows=rows,
        metric=metric,
        figures=[_figure(field, settings, means, metric) for field in settings[0]],
    )
    tested = render("sweep_test.html", rows=test, columns=test_columns, command=command)
    sections = [Section("settings", "Settings", content), Section("test", "Test items", tested)]
    return render_page("Sweep", lead, sections, footer="Written by jaxrec sweep.")


def _mean(by_seed: Sequence[float | None]) -> float:
    """Mean over the seeds; NaN where one diverged."""
    finite = [value for value in by_seed if value is not None]
    return statistics.mean(finite) if len(finite) == len(by_seed) else math.nan


def _spread(by_seed: Sequence[float | None]) -> float | None:
    """Standard deviation over two or more seeds; else None."""
    finite = [value for value in by_seed if value is not None]
    return statistics.stdev(finite) if len(finite) == len(by_seed) > 1 else None


def _text(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _figure(field: str, settings: Sequence[Settings], means: Sequence[float], metric: str) -> Figure:
    """The metric by a field's values: lines for the values of another field, the best of several, or all settings."""
    label = f"{metric} of the validation items by {field}"
    numeric = all(isinstance(s[field], int | float) and not isinstance(s[field], bool) for s in settings)
    others = [other for other in settings[0] if other != field]
    distinct = {name: len({_text(s[name]) for s in settings}) for name in settings[0]}
    if numeric and math.prod(distinct.values()) > len(settings):  # drawn, not all combinations
        xs, name = _axis(field, [float(s[field]) for s in settings])
        places = [str(place) for place in range(1, len(settings) + 1)]
        chart = scatter_plot(xs, list(means), places, label=label, x=name, y=metric)
        return Figure(field, chart, note="Each setting, with its place in the table.")
    lines, note = _lines(field, others, settings, means, distinct)
    legend = [name for name in lines if name]
    if numeric:
        values = sorted({float(s[field]) for s in settings})
        xs, name = _axis(field, values)
        series = {
            line or field: (xs, [by_value.get(value, math.nan) for value in values]) for line, by_value in lines.items()
        }
        return Figure(field, line_chart(series, label=label, x=name, y=metric), note=note, legend=legend)
    return Figure(field, _bars(field, lines, label, metric), note=note, legend=legend)


def _lines(
    field: str, others: list[str], settings: Sequence[Settings], means: Sequence[float], distinct: Mapping[str, int]
) -> tuple[dict[str, dict[Any, float]], str]:
    """By name of a line its points, the metric by value of the field; and what the lines are."""
    split_by = others[0] if len(others) == 1 and distinct[others[0]] <= MOST_LINES else None
    lines: dict[str, dict[Any, float]] = {}
    for setting, mean in zip(settings, means, strict=True):
        line = f"{split_by} {_text(setting[split_by])}" if split_by else ""
        value = setting[field]
        key = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _text(value)
        points = lines.setdefault(line, {})
        if math.isnan(points.setdefault(key, mean)) or mean > points[key]:
            points[key] = mean
    if split_by:
        return dict(sorted(lines.items())), f"A line for each {split_by}."
    return lines, f"The best setting with each value; {', '.join(others)} vary." if others else ""


def _axis(field: str, values: list[float]) -> tuple[list[float], str]:
    """Where values are drawn, and the axis's name: at their logarithms if they are positive and far apart."""
    if min(values) > 0 and max(values) / min(values) >= WIDE:
        return [math.log10(value) for value in values], f"{field}, as a power of ten"
    return values, field


def _bars(field: str, lines: Mapping[str, Mapping[Any, float]], label: str, metric: str) -> Markup:
    groups = list(dict.fromkeys(value for by_value in lines.values() for value in by_value))
    series = {name or field: [by_value.get(group, math.nan) for group in groups] for name, by_value in lines.items()}
    return bar_chart([str(group) for group in groups], series, label=label, x=field, y=metric)
