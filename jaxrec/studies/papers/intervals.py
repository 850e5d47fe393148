"""How sure a table's differences are: our rows beside the best baseline and, of rankings, the paper's own method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.baselines.registry import BASELINES
from jaxrec.evaluate.bootstrap import LEVEL
from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.results_file import COMPARED, against_best_baseline
from jaxrec.studies.papers.finished import Finished
from jaxrec.studies.papers.printed import PAPERS
from jaxrec.studies.papers.rows import Layout, Source

Values = dict[str, np.ndarray]
"""By metric, what each user adds to it, f64[U]."""


def intervals(form: Layout, of: Callable[[Source], Sequence[Finished]], seeds: int) -> list[dict[str, Any]]:
    """Paired bootstraps of differences, where all seeds are there; of rankings by each user's mean over the seeds.

    Baselines are those of the table and those that stand in the first run's own results. Metrics are HR@10 and NDCG@10,
    or all of the table where it shows neither.

    Args:
      form: the table's.
      of: results of a source, seed by seed.
      seeds: how many there should be.
    Returns:
      "system", "baseline", "metric", "difference", "low", "high" and the number of users or events of each.
    """
    if form.kind == "texts":
        return _of_texts(form, of)
    if form.kind != "ranking":
        return []
    shown = dict.fromkeys(measure.partition(", ")[0] for measure in form.measures.values())
    metrics = [metric for metric in shown if metric in COMPARED] or list(shown)
    whole = {row: (source, of(source)) for row, source in form.sources.items() if len(of(source)) == seeds}
    rivals = {
        BASELINES[source.baseline].title: _values(found, found[0].main, metrics)
        for source, found in whole.values()
        if source.baseline
    }
    ours: dict[str, Values] = {}
    own, measured = PAPERS[form.published.paper], dict.fromkeys(m.partition(", ")[2] for m in form.measures.values())
    method: dict[str, str] = {}
    for row, (source, found) in whole.items():
        if not source.run or found[0].main is None:
            continue
        if not ours:
            rivals = {name: _values(found, name, metrics) for name in found[0].baselines} | rivals
        for users in measured:
            behind = f", {users}" if users else ""
            values = _values(found, found[0].main + source.system + behind, metrics)
            if values:
                ours[row + behind] = values
                if source.run.startswith(own):
                    method.setdefault(behind, row + behind)
    made = [one for row, values in ours.items() for one in against_best_baseline(row, values, rivals)]
    for behind, best in method.items():
        rows = [row for row in ours if row != best and row.endswith(behind)]
        made += [one for row in rows for one in against_best_baseline(row, ours[row], {best: ours[best]})]
    return made


def interval_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """`intervals` in words: a line for each pair, and what they are."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for one in found:
        digits = 2 if one["metric"] == "rouge-l" else 4
        low, high = (f"{one[end]:+.{digits}f}" for end in ("low", "high"))
        said = f"{one['metric'].upper()} {one['difference']:+.{digits}f} [{low}, {high}]"
        pairs.setdefault((one["system"], one["baseline"]), []).append(said)
    lines = [f"{system} - {baseline}: {', '.join(said)}" for (system, baseline), said in pairs.items()]
    if not lines:
        return []
    many = sorted({one["n_users"] if "n_users" in one else one["n"] for one in found})
    over = " to ".join(f"{n:,}" for n in dict.fromkeys((many[0], many[-1])))
    who = "users" if "n_users" in found[0] else "events; MSE: of the squared error, less is better"
    return [*lines, f"In brackets: {LEVEL:.0%} paired bootstrap over {over} {who}"]


def _values(found: Sequence[Finished], system: str | None, metrics: Sequence[str]) -> Values:
    """What each user adds, the mean over seeds; empty where a seed lacks the system or ranks other users.

    Metrics that the lists are too short for are left out.
    """
    ranks = [one.ranks[system] for one in found if system in one.ranks]
    if len(ranks) < len(found) or len({one.shape for one in ranks}) > 1:
        return {}
    known = [m for m in metrics if not any(isinstance(one.metric(system or "", m), str) for one in found)]
    return {metric: np.mean([user_values(one, metric) for one in ranks], axis=0) for metric in known}


def _of_texts(form: Layout, of: Callable[[Source], Sequence[Finished]]) -> list[dict[str, Any]]:
    """Those of the first seed's results.json, for the tasks of the table."""
    tasks, made = dict.fromkeys(measure.split("/")[0] for measure in form.measures.values()), []
    for column, source in form.sources.items():
        for one in of(source)[:1]:
            for task in tasks:
                own = one.text_row(task)
                told = (one.found.get("texts") or {}).get("intervals", ())
                made += [
                    {**interval, "system": f"{column}, {task}"}
                    for interval in told
                    if own and (interval["task"], interval["system"]) == (task, own["system"])
                ]
    return made
