"""Train and measure a run, measure it again, and write its report."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

import jax
import numpy as np

from jaxrec.config import Config
from jaxrec.evaluate.results_file import write_results
from jaxrec.files import locked_folder, read_kept
from jaxrec.inference import newcomers
from jaxrec.keys import generator
from jaxrec.models.retriever import Retriever
from jaxrec.report.run_report import write_report
from jaxrec.system import run as runs
from jaxrec.system import training
from jaxrec.system.beforehand import check_data, check_devices, check_memory
from jaxrec.system.loading import with_unseen
from jaxrec.system.measuring import beam_gap_line, build_results_report, measure, some_users
from jaxrec.system.recommendation_lists import recommendation_list
from jaxrec.system.stages import build
from jaxrec.system.system import System
from jaxrec.tasks.ragged import histories_of
from jaxrec.types import TopK


def train(config: Config) -> tuple[System, dict[str, Any]]:
    """Trains a config's run, or resumes it, and evaluates it and the baselines on the test part.

    Writes results.json and report.html into the run's folder.

    Args:
      config: of the run.
    Returns:
      The trained system, and the content of results.json, which `jaxrec.system.measuring.report_lines` formats.
    Raises:
      ValueError: the config contradicts itself, its data can't be read, or the folder holds a run of another config, or
        is being trained into by another process.
    """
    started = time.monotonic()
    runs.check_run(config)
    check_devices(config.train, jax.device_count())
    check_memory(config)
    with locked_folder(config.folder):
        system, _ = training.train_model(build(runs.start(config, check_data)))
        system = with_unseen(system)
        newcomers.fill_store(system)
        measured = measure(system, "test")
        # A call that resumed a run does not know how long the earlier call took.
        seconds = time.monotonic() - started if system.fresh else _stored_seconds(system)
        report = build_results_report(system, "test", measured, seconds)
        write_results(system.folder, report, measured.ranks)
        write_run_report(system)
    return system, report


def write_run_report(system: System, file: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Writes the HTML report of a measured run.

    Args:
      system: the run; its folder holds results.json.
      file: where to write; None: report.html in the run's folder.
    Returns:
      The path of the report.
    Raises:
      ValueError: the run is not measured yet.
    """
    if not system.config.task.ranking:
        return write_report(system, [], file)
    users, task = some_users(system), system.config.task.ranking[0]
    test_items = system.split.test[users]
    top = system.recommend(users, min(10, system.data.n_items))  # the shape that timing has compiled already
    examples = []
    for row in generator(system.config.seed, "examples").permutation(np.flatnonzero(test_items >= 0))[:3]:
        user = users[row : row + 1]
        history = histories_of(system.histories, user)
        user_top = TopK(top.items[row : row + 1], top.scores[row : row + 1])
        user_id = system.user_name(system.user_codes(history, user), 0)
        heading = f"user {system.data.user_names[user[0]]}, {user_id}".removesuffix(", ")
        examples.append(recommendation_list(system, history, user_top, task, heading, int(test_items[row])))
    return write_report(system, examples, file)


def _stored_seconds(system: System) -> float | None:
    """The run's duration in seconds from results.json; None where there is none."""
    file = system.folder / "results.json"
    return read_kept(file, "json", "delete it, and the run is measured anew").get("seconds") if file.is_file() else None


def evaluate(system: System, part: str) -> tuple[dict[str, Any], str]:
    """Evaluates a trained system again, and writes the results into its folder under evaluations/.

    Args:
      system: with the eval settings to use.
      part: "valid" or "test".
    Returns:
      The content of results.json, and, after exact scoring, a line that compares beam search with it, else "".
    """
    started = time.monotonic()
    measured = measure(system, part)
    report = build_results_report(system, part, measured, time.monotonic() - started)
    settings = system.config.eval
    method = "retrieval" if isinstance(system.model, Retriever) else f"{settings.recommender}-{settings.beams}"
    if not system.config.task.ranking:
        method = "texts"
    if system.config.task.writing:
        method += f"-{settings.text_beams}" + (f"-{settings.text_events}" if settings.text_events else "")
    if settings.counts or settings.blend_with or settings.rerank:
        method += "-".join(["", *settings.blend_with, "counts", *(["re-ranked"] if settings.rerank else [])])
    write_results(system.folder / "evaluations" / f"{part}-{method}-{settings.prompt}", report, measured.ranks)
    exact = settings.recommender == "exact" and not isinstance(system.model, Retriever)
    return report, beam_gap_line(system, part) if exact and report["rows"] else ""
