"""Section "Ratings and texts": metrics of the tasks that write, and a few answers."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxrec.evaluate.text_results import events_line
from jaxrec.report.page import Section, Tile, render

TITLES = {
    "rating": "Rating: stars of a user for an item",
    "explanation": "Explanation: a sentence about a feature word",
    "review": "Review: a title for a text",
    "preference": "Preference: the stars that go with a text",
}


@dataclasses.dataclass(frozen=True)
class TaskResults:
    """What is shown of a task.

    Attributes:
      title: what is asked and answered.
      metrics: names of the table's columns.
      digits: decimals of each metric.
      rows: of results.json, one a system.
      examples: events of results.json with the answer and what the user wrote.
    """

    title: str
    metrics: list[str]
    digits: int
    rows: list[dict[str, Any]]
    examples: list[dict[str, str]]


def texts_section(texts: dict[str, Any]) -> Section:
    """The tables of "texts" of results.json, each with a few answers beside what users wrote."""
    tasks = []
    for task, rows in _by_task(texts).items():
        metrics = [name for name in rows[0] if name not in ("task", "system", "baseline", "n", "ms")]
        digits = 4 if "rmse" in metrics else 2
        tasks.append(TaskResults(TITLES[task], metrics, digits, rows, texts.get("examples", {}).get(task, [])))
    content = render("texts.html", events=events_line(texts["events"]).capitalize(), tasks=tasks)
    return Section("texts", "Ratings and texts", content)


def text_tiles(texts: dict[str, Any]) -> list[Tile]:
    """The main metric of each task, beside that of the best baseline."""
    tiles = []
    for task, rows in _by_task(texts).items():
        metric, better = ("rmse", min) if "rmse" in rows[0] else ("bleu-4", max)
        best = better((row for row in rows if row["baseline"]), key=lambda row: row[metric], default=None)
        context = f"{best['system']}: {best[metric]:.4g}" if best else ""
        tiles.append(Tile(f"{task}, {metric.upper()}", f"{rows[0][metric]:.4g}", context))
    return tiles


def _by_task(texts: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in texts["rows"]:
        rows.setdefault(row["task"], []).append(row)
    return rows
