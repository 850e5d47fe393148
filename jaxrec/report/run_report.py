"""Writes the report of a measured run: report.html in the run's folder."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.files import read_kept, write_whole
from jaxrec.keys import generator
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.report.answer_attention import answer_attention
from jaxrec.report.formatting import number
from jaxrec.report.page import Section, render_page
from jaxrec.report.sections.about import about_section
from jaxrec.report.sections.attention import attention_section
from jaxrec.report.sections.hit_rate_groups import hit_rate_section
from jaxrec.report.sections.ids import ids_section
from jaxrec.report.sections.leaks import leaks_section
from jaxrec.report.sections.recommendations import recommendations_section
from jaxrec.report.sections.representations import representations_section
from jaxrec.report.sections.results import ranking_tiles, results_section
from jaxrec.report.sections.texts import text_tiles, texts_section
from jaxrec.report.sections.training_curves import training_section
from jaxrec.system.system import System

REPORT_FILE = "report.html"


def write_report(
    system: System, recommended: Sequence[RecommendationList], file: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Writes the report of a measured run, one HTML file that loads nothing from elsewhere.

    Args:
      system: trained; its folder holds results.json, ranks.npz and metrics.jsonl.
      recommended: recommendations for some users.
      file: default: report.html in the run's folder.
    Returns:
      where it is.
    Raises:
      ValueError: the run is not measured yet.
    """
    folder = system.folder
    if not (folder / "results.json").is_file():
        raise ValueError(f"{folder} is not measured yet (no results.json); python -m launch.train finishes the run")
    remedy = "delete it, and the run's train command measures anew"
    report = read_kept(folder / "results.json", "json", remedy)
    ranks = read_kept(folder / "ranks.npz", "npz", remedy)
    lead = (
        f"{report['protocol']} protocol, {report['part']} part, seed {report['seed']}: "
        f"{number(system.data.n_users)} users, {number(report['n_items'])} items, "
        f"{number(system.split.train.n_events)} training events"
    )
    page = render_page(
        f"{system.name} on {report['dataset']}",
        lead,
        _sections(system, report, ranks, recommended),
        tiles=ranking_tiles(report) if report["rows"] else text_tiles(report["texts"]),
        footer=f"A report of jaxrec {report['versions']['jaxrec']}.",
    )
    target = pathlib.Path(file) if file is not None else folder / REPORT_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, page)
    return target


def _sections(
    system: System, report: dict[str, Any], ranks: dict[str, np.ndarray], recommended: Sequence[RecommendationList]
) -> list[Section]:
    """Those that apply: a run that ranks nothing has no results of ranking, and one without texts none of texts."""
    ranking = bool(report["rows"])
    sections = [results_section(report)] if ranking else []
    if "texts" in report:
        sections.append(texts_section(report["texts"]))
    sections += [training_section(system.folder), ids_section(system)]
    if ranking:
        sections.append(leaks_section(system))
    sections.append(representations_section(system))
    if ranking:
        sections.append(hit_rate_section(system.split, report, ranks))
        sections += _attention(system, ranks[report["rows"][0]["system"]])
        sections.append(recommendations_section(recommended))
    sections.append(about_section(system.config, report))
    return sections


def _attention(system: System, ranks: np.ndarray) -> list[Section]:
    """Of a user drawn among those whose held-out item ranks highest; no section where the model has no attention."""
    measured = np.flatnonzero(~np.isnan(ranks))
    best = measured[ranks[measured] == ranks[measured].min()]
    user = int(generator(system.config.seed, "attention").permutation(best)[0])
    attention = answer_attention(system, user)
    if attention is None:
        return []
    name, titles = str(system.data.user_names[user]), system.data.titles()
    return [attention_section(attention, titles, name, len(best), float(ranks[user]))]
