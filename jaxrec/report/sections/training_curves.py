"""Section "Training": losses and validation metrics over the steps of the model, and the embedder's loss."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxrec.embedders.registry import EMBEDDERS
from jaxrec.report.charts.line_chart import line_chart
from jaxrec.report.page import Figure, Section, render
from jaxrec.system.training_stages import LANGUAGE_MODEL
from jaxrec.training.writer import read_records

Series = dict[str, tuple[list[int], list[float]]]
"""Steps and values by the name of the metric."""
MOST_ROWS = 40
"""Steps up to which a chart's numbers are also given as a table."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A chart and, where its numbers are few, a row of them for each step: the step, then a value a series."""

    figure: Figure
    rows: list[tuple[int, list[float]]]


def training_section(folder: pathlib.Path) -> Section:
    """The curves in metrics.jsonl of a run's folder, and in those of its first stage and its embedders."""
    curves = []
    if (folder / LANGUAGE_MODEL).is_dir():
        curves += _of_model(folder / LANGUAGE_MODEL, ", first stage: the language model")
    curves += _of_model(folder, ", second stage: the collaborative tokens" if curves else "")
    for name, embedder in EMBEDDERS.items():
        if (file := folder / name / "metrics.jsonl").is_file():
            title = f"Loss of the embedder ({embedder.title})"
            curves.append(_curve(title, _series(read_records(file), "loss"), "loss"))
    return Section("curves", "Training", render("training_curves.html", curves=curves))


def _of_model(folder: pathlib.Path, stage: str) -> list[Curve]:
    records = read_records(folder / "metrics.jsonl")
    curves = [_curve(f"Training loss{stage}", _series(records, "loss"), "loss")]
    prefix = "valid/" if any("valid/hr@10" in record for record in records) else ""
    if metrics := _series(records, f"{prefix}hr@10", f"{prefix}ndcg@10"):
        curves.append(_curve(f"Validation{stage}", metrics, "metric"))
    if nll := _series(records, "valid/nll") or _series(records, "nll"):
        curves.append(_curve(f"Validation of answers in words{stage}", nll, "negative log-likelihood a token"))
    return curves


def _series(records: Sequence[dict[str, Any]], *names: str) -> Series:
    """Those of the metrics that some record has."""
    series = {}
    for name in names:
        points = [(record["step"], record[name]) for record in records if name in record]
        if points:
            title = name.removeprefix("valid/").upper() if "@" in name else name
            series[title] = [step for step, _ in points], [value for _, value in points]
    return series


def _curve(title: str, series: Series, y: str) -> Curve:
    figure = Figure(title, line_chart(series, label=title, x="step", y=y), legend=list(series))
    rows = []
    if series and all(len(steps) <= MOST_ROWS for steps, _ in series.values()):
        steps = next(iter(series.values()))[0]
        rows = [(step, [values[n] for _, values in series.values()]) for n, step in enumerate(steps)]
    return Curve(figure, rows)
