"""Puts a run's report together and leaves it in the run's folder."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxrec.files import write_whole
from jaxrec.keys import generator
from jaxrec.recommend.recommendations import RecommendationList
from jaxrec.report import ids, results
from jaxrec.report.attention import answer_attention
from jaxrec.report.draw.markup import element, escape, number
from jaxrec.report.draw.page import grid, page, paragraph, section, tiles
from jaxrec.report.texts import texts
from jaxrec.system.system import System

FILE = "report.html"


def write_report(
    system: System, shown: Sequence[RecommendationList], file: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Writes the report of a measured run, one HTML file that loads nothing from elsewhere.

    Args:
      system: trained; its folder holds results.json, ranks.npz and metrics.jsonl.
      shown: recommendations for some users.
      file: default: report.html in the run's folder.
    Returns:
      where it is.
    Raises:
      ValueError: the run is not measured yet.
    """
    folder, config, split = system.folder, system.config, system.split
    if not (folder / "results.json").is_file():
        raise ValueError(f"{folder} is not measured yet (no results.json); python -m launch.train finishes the run")
    found = json.loads((folder / "results.json").read_text())
    with np.load(folder / "ranks.npz") as kept:
        ranks = dict(kept)
    ranking = bool(found["rows"])
    sections = [results.results(found)] if ranking else []
    if "texts" in found:
        sections.append(texts(found))
    sections += [results.curves(folder), ids.codes(system)]
    if ranking:
        sections.append(ids.leaks(system))
    sections.append(ids.alike(system))
    if ranking:
        sections.append(results.served(split, found, ranks))
        sections += _attention(system, ranks[found["rows"][0]["system"]])
        sections.append(_recommendations(shown))
    sections.append(results.about(config, found))
    title = f"{system.name} on {found['dataset']}"
    lead = (
        f"{found['protocol']} protocol, {found['part']} part, seed {found['seed']}: "
        f"{number(system.data.n_users)} users, {number(found['n_items'])} items, "
        f"{number(split.train.n_events)} training events"
    )
    whole = page(title, lead, _first(found), sections, f"A report of jaxrec {found['versions']['jaxrec']}.")
    target = pathlib.Path(file) if file is not None else folder / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, whole)
    return target


def _first(found: dict) -> str:
    if not found["rows"]:
        return _first_texts(found)
    main, best, told = found["rows"][0], results.best_baseline(found), []
    for metric in ("hr@10", "ndcg@10"):
        if metric in main:
            beside = f"{best['system']}: {best.get(metric, float('nan')):.4f}" if best else ""
            told.append((metric.upper(), f"{main[metric]:.4f}", beside))
    told.append(("a list of ten", f"{found['ms_per_user']:.2f} ms", "per user"))
    told.append(("measured on", number(main["n_users"]), f"users, all {number(found['n_items'])} items ranked"))
    return tiles(told)


def _first_texts(found: dict) -> str:
    """Where nothing is ranked: each task's main metric, beside its best baseline."""
    told, rows = [], found["texts"]["rows"]
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        metric = "rmse" if "rmse" in mine[0] else "bleu-4"
        better = min if metric == "rmse" else max
        rivals = [row for row in mine if row["baseline"]]
        best = better(rivals, key=lambda row: row[metric]) if rivals else None
        beside = f"{best['system']}: {best[metric]:.4g}" if best else ""
        told.append((f"{task}, {metric.upper()}", f"{mine[0][metric]:.4g}", beside))
    return tiles(told)


def _attention(system: System, ranks: np.ndarray) -> list[tuple[str, str, str]]:
    """Of a user drawn among those whose held-out item ranks highest; no section where the model has no attention."""
    asked = np.flatnonzero(~np.isnan(ranks))
    best = asked[ranks[asked] == ranks[asked].min()]
    user = int(generator(system.config.seed, "attention").permutation(best)[0])
    who = f"User {system.data.user_names[user]}, drawn among {number(len(best))} whose item the model ranks highest"
    attention = answer_attention(system, user)
    return [] if attention is None else [results.attention(system, attention, who, float(ranks[user]))]


def _recommendations(shown: Sequence[RecommendationList]) -> tuple[str, str, str]:
    def line(mark: str, label: str, name: str, score: str = "", class_: str | None = None) -> str:
        told = element("span", escape(label), element("code", escape(name)))
        return element("li", element("span", mark), told, element("span", score, class_="score"), class_=class_)

    users = []
    for one in shown:
        parts = [element("h3", escape(one.who))]
        if one.history:
            lines = [line("", label, name) for label, name in one.history]
            told = element("summary", f"the last {len(lines)} items of the history")
            parts.append(element("details", told, element("ol", *lines, class_="list")))
        parts.append(
            element(
                "ol",
                *(
                    line(
                        f"{n}",
                        label,
                        name,
                        f"{score:.3f}".replace("-", "−") + (" ✓" if hit else ""),
                        "hit" if hit else None,
                    )
                    for n, (label, name, score, hit) in enumerate(one.items, start=1)
                ),
                class_="list",
            )
        )
        users.append(element("div", *parts))
    score = shown[0].score if shown else "score"
    text = f"For users drawn by the seed; on the right the {score}. ✓ marks the held-out item."
    return section("recommendations", "Recommendations", paragraph(text), grid(*users))
