"""Train and measure a run, measure it again, and write its report."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

import numpy as np

from jaxrec.config import Config
from jaxrec.evaluate.results_file import write_results
from jaxrec.keys import generator
from jaxrec.models.retriever import Retriever
from jaxrec.report.run_report import write_report
from jaxrec.serve import newcomers
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.listing import listing
from jaxrec.system.loading import with_unseen
from jaxrec.system.measuring import beams_gap, measure, report_of, some_users
from jaxrec.system.stages import build
from jaxrec.system.system import System, histories_of
from jaxrec.types import TopK


def train(config: Config) -> tuple[System, dict[str, Any]]:
    """Trains what a config describes, or goes on with it, and measures it beside the baselines.

    Returns:
      the trained system, and what results.json holds; `jaxrec.system.measuring.report_lines` shows it.
    """
    started = time.monotonic()
    system, _ = training.train_model(build(runs.start(config)))
    system = with_unseen(system)
    newcomers.fill_store(system)
    measured = measure(system, "test")
    # A call that went on with an older one's work doesn't know how long that took.
    report = report_of(system, "test", measured, time.monotonic() - started if system.fresh else _seconds(system))
    write_results(system.folder, report, measured.ranks)
    leave_report(system)
    return system, report


def leave_report(system: System, file: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Writes the report of a measured run, by default as report.html in its folder; returns where it is."""
    if not system.config.task.ranking:
        return write_report(system, [], file)
    users, task = some_users(system), system.config.task.ranking[0]
    truth = system.split.test[users]
    top = system.recommend(users, min(10, system.data.n_items))  # compiled already where a list's time was measured
    shown = []
    for row in generator(system.config.seed, "examples").permutation(np.flatnonzero(truth >= 0))[:3]:
        user, history = users[row : row + 1], histories_of(system.histories, users[row : row + 1])
        one, name = TopK(top.items[row : row + 1], top.scores[row : row + 1]), system.data.user_names[user[0]]
        who = f"user {name}, {system.user_name(system.user_codes(history, user), 0)}".removesuffix(", ")
        shown.append(listing(system, history, one, task, who, int(truth[row])))
    return write_report(system, shown, file)


def _seconds(system: System) -> float | None:
    """What results.json says of the run's time, if there is one and it does."""
    file = system.folder / "results.json"
    return json.loads(file.read_text()).get("seconds") if file.is_file() else None


def evaluate(system: System, part: str) -> tuple[dict[str, Any], str]:
    """Measures a trained system again, and leaves the report in its folder under evaluations/.

    Returns:
      what results.json holds, and where every item was scored a line that says how far beam search is from it, else "".
    """
    started = time.monotonic()
    measured = measure(system, part)
    report = report_of(system, part, measured, time.monotonic() - started)
    settings = system.config.eval
    how = "retrieval" if isinstance(system.model, Retriever) else f"{settings.recommender}-{settings.beams}"
    if not system.config.task.ranking:
        how = "texts"
    if system.config.task.writing:
        how += f"-{settings.text_beams}" + (f"-{settings.text_events}" if settings.text_events else "")
    write_results(system.folder / "evaluations" / f"{part}-{how}-{settings.prompt}", report, measured.ranks)
    exact = settings.recommender == "exact" and not isinstance(system.model, Retriever)
    return report, beams_gap(system, part) if exact and report["rows"] else ""
