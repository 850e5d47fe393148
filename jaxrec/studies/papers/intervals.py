"""Intervals of a paper's table: our rows against the best baseline and, for rankings, against the paper's method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.baselines.registry import BASELINES
from jaxrec.evaluate.bootstrap import LEVEL
from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.results_file import COMPARED, against_best_baseline
from jaxrec.studies.comparison import PairedInterval
from jaxrec.studies.papers.layout import Layout, Source
from jaxrec.studies.papers.published import PAPERS
from jaxrec.studies.papers.run_results import RunResults

UserMetrics = dict[str, np.ndarray]
"""Each user's contribution by metric, f64[U]."""


@dataclasses.dataclass(frozen=True)
class TextInterval:
    """Difference of a system and a baseline on a rating or text task over `n` test events, with its interval."""

    task: str
    system: str
    baseline: str
    metric: str
    difference: float
    low: float
    high: float
    n: int


def table_intervals(
    layout: Layout, results_of: Callable[[Source], Sequence[RunResults]], seeds: int
) -> list[PairedInterval] | list[TextInterval]:
    """Paired bootstraps of differences for rows with all seeds; rankings use each user's mean over the seeds.

    Baselines are those of the table and those in the first run's results. Metrics are HR@10 and NDCG@10, or all of the
    table's metrics if it has neither.

    Args:
      layout: the table's layout.
      results_of: returns the results of a source, one per seed.
      seeds: number of seeds of a complete row.
    Returns:
      intervals of rankings or of texts; empty for tables of times and errors.
    """
    if layout.kind == "texts":
        return _text_intervals(layout, results_of)
    if layout.kind != "ranking":
        return []
    table_metrics = dict.fromkeys(measure.partition(", ")[0] for measure in layout.measures.values())
    metrics = [metric for metric in table_metrics if metric in COMPARED] or list(table_metrics)
    complete = {
        row: (source, results) for row, source in layout.sources.items() if len(results := results_of(source)) == seeds
    }
    rivals = {
        BASELINES[source.baseline].title: _user_metrics(results, results[0].main, metrics)
        for source, results in complete.values()
        if source.baseline
    }
    ours: dict[str, UserMetrics] = {}
    method = PAPERS[layout.published.paper]
    suffixes = dict.fromkeys(
        f", {users}" if users else "" for users in (m.partition(", ")[2] for m in layout.measures.values())
    )
    method_rows: dict[str, str] = {}  # the row of the paper's method by suffix
    for row, (source, results) in complete.items():
        if not source.run or results[0].main is None:
            continue
        if not ours:
            rivals = {name: _user_metrics(results, name, metrics) for name in results[0].baselines} | rivals
        for suffix in suffixes:
            values = _user_metrics(results, results[0].main + source.system + suffix, metrics)
            if values:
                ours[row + suffix] = values
                if source.run.startswith(method):
                    method_rows.setdefault(suffix, row + suffix)
    intervals = [interval for row, values in ours.items() for interval in against_best_baseline(row, values, rivals)]
    for suffix, method_row in method_rows.items():
        for row in ours:
            if row != method_row and row.endswith(suffix):
                intervals += against_best_baseline(row, ours[row], {method_row: ours[method_row]})
    return [PairedInterval(**interval) for interval in intervals]


def interval_lines(intervals: Sequence[PairedInterval | TextInterval]) -> list[str]:
    """A line for each pair of systems, and an explanation."""
    if not intervals:
        return []
    pairs: dict[tuple[str, str], list[str]] = {}
    for interval in intervals:
        digits = 2 if interval.metric == "rouge-l" else 4
        low, high = f"{interval.low:+.{digits}f}", f"{interval.high:+.{digits}f}"
        text = f"{interval.metric.upper()} {interval.difference:+.{digits}f} [{low}, {high}]"
        pairs.setdefault((interval.system, interval.baseline), []).append(text)
    lines = [f"{system} - {baseline}: {', '.join(texts)}" for (system, baseline), texts in pairs.items()]
    of_texts = isinstance(intervals[0], TextInterval)
    sizes = sorted({i.n if isinstance(i, TextInterval) else i.n_users for i in intervals})
    size = " to ".join(f"{n:,}" for n in dict.fromkeys((sizes[0], sizes[-1])))
    unit = "events; MSE: of the squared error, less is better" if of_texts else "users"
    return [*lines, f"In brackets: {LEVEL:.0%} paired bootstrap over {size} {unit}"]


def _user_metrics(results: Sequence[RunResults], system: str | None, metrics: Sequence[str]) -> UserMetrics:
    """Each user's contributions, averaged over seeds; empty if a seed lacks the system or has other users.

    Metrics with cutoffs beyond the length of the lists are left out.
    """
    ranks = [result.ranks[system] for result in results if system in result.ranks]
    if len(ranks) < len(results) or len({of_seed.shape for of_seed in ranks}) > 1:
        return {}
    available = [m for m in metrics if not any(isinstance(result.metric(system or "", m), str) for result in results)]
    return {metric: np.mean([user_values(of_seed, metric) for of_seed in ranks], axis=0) for metric in available}


def _text_intervals(layout: Layout, results_of: Callable[[Source], Sequence[RunResults]]) -> list[TextInterval]:
    """The intervals in the first seed's results.json, for the tasks of the table."""
    tasks, intervals = dict.fromkeys(measure.split("/")[0] for measure in layout.measures.values()), []
    for column, source in layout.sources.items():
        for results in results_of(source)[:1]:
            for task in tasks:
                row = results.text_row(task)
                for interval in (results.report.get("texts") or {}).get("intervals", ()):
                    if row and (interval["task"], interval["system"]) == (task, row["system"]):
                        intervals.append(TextInterval(**{**interval, "system": f"{column}, {task}"}))
    return intervals
