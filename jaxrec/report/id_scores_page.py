"""A page about the ids of several runs: diversity and memorization, and how they relate to recommendation."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.report.charts.line_chart import line_chart
from jaxrec.report.charts.scatter_plot import scatter_plot
from jaxrec.report.page import Figure, Section, render, render_page
from jaxrec.system.id_scores import WHEN, correlations_line

Scores = Mapping[str, dict[str, Any]]
"""By a run's name what `id_scores.before_and_after` returns."""
MOST_CURVES = 4
"""Runs whose convergence is drawn at most, as many as there are colours."""


def id_scores_page(scores: Scores) -> str:
    """The page, HTML that loads nothing from elsewhere: META ID's figures 2a, 2c and 5 for one's own runs.

    Args:
      scores: by a run's folder what `id_scores.before_and_after` returns.
    """
    names = _names(list(scores))
    sections = []
    for entity in ("items", "users"):
        of_entity = {names[folder]: run for folder, run in scores.items() if entity in run["after"]}
        if of_entity:
            sections.append(_section(entity, of_entity))
    lead = f"{len(scores)} run{'s' if len(scores) > 1 else ''}: {', '.join(names.values())}"
    return render_page("Diversity and memorization of ids", lead, sections, footer="Written by jaxrec id-scores.")


def _names(folders: list[str]) -> dict[str, str]:
    """By folder its last part, or the whole path where two folders have the same last part."""
    last_parts = [pathlib.Path(folder).name for folder in folders]
    return dict(zip(folders, last_parts if len(set(last_parts)) == len(folders) else folders))


def _section(entity: str, scores: Scores) -> Section:
    correlations = correlations_line(list(scores.values()), entity) or "a correlation takes three runs"
    content = render(
        "id_scores.html",
        entity=entity,
        scores=scores,
        when=WHEN,
        figures=[_both_scores(entity, scores), _recommendation(entity, scores, correlations), _curves(entity, scores)],
    )
    return Section(entity, f"Ids of {entity}", content)


def _after(entity: str, scores: Scores, score: str) -> list[float]:
    return [run["after"][entity][score] for run in scores.values()]


def _both_scores(entity: str, scores: Scores) -> Figure:
    diversity, memorization = (_after(entity, scores, score) for score in ("diversity", "memorization"))
    label = f"Memorization of {entity}' ids by their diversity, after training"
    chart = scatter_plot(diversity, memorization, list(scores), label=label, x="diversity", y="memorization")
    return Figure("Scores after training", chart, note="What figure 2a has as bars.")


def _recommendation(entity: str, scores: Scores, correlations: str) -> Figure:
    sums = np.add(_after(entity, scores, "diversity"), _after(entity, scores, "memorization")).tolist()
    ndcg = [np.nan if run["ndcg@10"] is None else run["ndcg@10"] for run in scores.values()]
    label = f"NDCG@10 by the sum of both scores of {entity}' ids"
    chart = scatter_plot(sums, ndcg, list(scores), label=label, x="diversity + memorization", y="NDCG@10")
    return Figure("Scores and recommendation", chart, note=f"As figure 2c; {correlations}.")


def _curves(entity: str, scores: Scores) -> Figure:
    series = {}
    for name, run in list(scores.items())[:MOST_CURVES]:
        pairs, means, _ = np.array(run["after"][entity]["curve"]).T
        series[name] = (np.log10(pairs), means)
    label = f"Diversity of {entity}' ids by pairs"
    chart = line_chart(series, label=label, x="sampled pairs, as a power of ten", y="diversity")
    first = f" The first {MOST_CURVES} runs." if len(scores) > MOST_CURVES else ""
    return Figure("Convergence of diversity", chart, note=f"As figure 5.{first}", legend=list(series))
