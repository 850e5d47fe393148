"""A page of the ids of several runs: diversity and memorization, and what they have to do with recommending."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from jaxrec.report.draw import charts
from jaxrec.report.draw.markup import escape, table
from jaxrec.report.draw.page import figure, grid, page, paragraph, section
from jaxrec.report.ids import Section
from jaxrec.system.id_scores import WHEN, correlations_line

CURVES = 4
"""Runs whose convergence is drawn at most, as many as there are colours."""


def scores_page(found: dict[str, dict[str, Any]]) -> str:
    """The page, HTML that loads nothing from elsewhere: META ID's figures 2a, 2c and 5 for one's own runs.

    Args:
      found: by a run's folder what `id_scores.before_and_after` gives.
    """
    names = _names(list(found))
    sections = [
        _section(who, {names[run]: scores for run, scores in found.items() if who in scores["after"]})
        for who in ("items", "users")
        if any(who in scores["after"] for scores in found.values())
    ]
    lead = f"{len(found)} run{'s' if len(found) > 1 else ''}: {', '.join(names.values())}"
    return page("Diversity and memorization of ids", lead, "", sections, "By jaxrec's launch.id_scores.")


def _names(folders: list[str]) -> dict[str, str]:
    """The folders' own names, or whole paths where two have one name."""
    short = [pathlib.Path(folder).name for folder in folders]
    return dict(zip(folders, short if len(set(short)) == len(short) else folders))


def _section(who: str, found: dict[str, dict[str, Any]]) -> Section:
    text = (
        "Diversity: the mean divergence of the distributions over features of two ids' embeddings, sampled pairs (META "
        "ID, eq. 3). Memorization: how near similarities of ids are to those of the training ratings (eq. 4 and 5). An "
        "id's embedding is the mean of its tokens' as the model reads them (eq. 2)."
    )
    head = ["run", *(f"{score} {when}" for score in ("diversity", "memorization") for when in WHEN), "NDCG@10"]
    rows = []
    for name, run in found.items():
        cells = [f"{run[when][who]['diversity']:.4f} ± {run[when][who]['error']:.4f}" for when in WHEN]
        cells += [f"{run[when][who]['memorization']:.4f}" for when in WHEN]
        rows.append([escape(name), *cells, "–" if run["ndcg@10"] is None else f"{run['ndcg@10']:.4f}"])
    said = correlations_line(list(found.values()), who) or "a correlation takes three runs"
    pictures = [_both(who, found), _related(who, found, said), _curves(who, found)]
    return section(who, f"Ids of {who}", paragraph(text), table(head, rows), grid(*pictures))


def _both(who: str, found: dict[str, dict[str, Any]]) -> str:
    diversity, memorization = (
        [run["after"][who][score] for run in found.values()] for score in ("diversity", "memorization")
    )
    label = f"Memorization of {who}' ids by their diversity, after training"
    chart = charts.scatter(diversity, memorization, list(found), label=label, x="diversity", y="memorization")
    return figure("Scores after training", chart, note="What figure 2a has as bars.")


def _related(who: str, found: dict[str, dict[str, Any]], said: str) -> str:
    sums = [run["after"][who]["diversity"] + run["after"][who]["memorization"] for run in found.values()]
    ndcg = [np.nan if run["ndcg@10"] is None else run["ndcg@10"] for run in found.values()]
    label = f"NDCG@10 by the sum of both scores of {who}' ids"
    chart = charts.scatter(sums, ndcg, list(found), label=label, x="diversity + memorization", y="NDCG@10")
    return figure("Scores and recommendation", chart, note=f"As figure 2c; {said}.")


def _curves(who: str, found: dict[str, dict[str, Any]]) -> str:
    shown, series = dict(list(found.items())[:CURVES]), {}
    for name, run in shown.items():
        sizes, means, _ = np.array(run["after"][who]["curve"]).T
        series[name] = (np.log10(sizes), means)
    label = f"Diversity of {who}' ids by pairs"
    chart = charts.lines(series, label=label, x="sampled pairs, as a power of ten", y="diversity")
    few = f" The first {CURVES} runs." if len(found) > CURVES else ""
    return figure("Convergence of diversity", chart, note=f"As figure 5.{few}", legend=list(shown))
