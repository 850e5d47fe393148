"""Evaluates a system and its baselines on ranking and text tasks, and builds the content of results.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.baselines.clues import count_clues
from jaxrec.baselines.counted import COUNTED_BASELINES, counted_components, evaluate_baselines
from jaxrec.baselines.registry import BASELINES, trained_component
from jaxrec.embedders.inner_product import InnerProductScorer
from jaxrec.embedders.registry import embedder
from jaxrec.evaluate.blend_fitting import fit_blends
from jaxrec.evaluate.blending import COUNTS, RERANKED, Blend, Component, evaluate_blends
from jaxrec.evaluate.full_ranking import Result, evaluate_scores, results_of_groups
from jaxrec.evaluate.results_file import results_report
from jaxrec.evaluate.results_table import results_table
from jaxrec.evaluate.text_results import TextResult, text_report, text_table
from jaxrec.files import read_kept
from jaxrec.recommend.exact_scoring import beam_gap
from jaxrec.system import run as runs
from jaxrec.system.catalogue_scores import catalogue_component
from jaxrec.system.system import System
from jaxrec.system.text_tasks import Writer
from jaxrec.system.timing import milliseconds_each


@dataclasses.dataclass(frozen=True)
class Measured:
    """Results of a system and its baselines on one part of the data.

    Attributes:
      ranks: results of the ranking tasks; empty where there are none.
      texts: results of the text tasks.
      examples: by text task, answers for a few events; see `Writer.examples`.
      blends: of the system and the baselines, and of these alone, by the names of their rows; empty unless eval.counts,
        eval.blend_with or eval.rerank is set.
    """

    ranks: list[Result]
    texts: list[TextResult]
    examples: dict[str, list[dict[str, str]]]
    blends: Mapping[str, Blend]


def measure(system: System, part: str) -> Measured:
    """Evaluates the system on each of its tasks, and the baselines on the same events.

    Args:
      system: trained.
      part: "valid" or "test".
    """
    task = system.config.task
    ranks, blends = _ranks(system, part) if task.ranking else ([], {})
    if not task.writing:
        return Measured(ranks, [], {}, blends)
    writer = Writer(system)
    return Measured(ranks, writer.measure(part), {name: writer.examples(name, part) for name in task.writing}, blends)


def _ranks(system: System, part: str) -> tuple[list[Result], dict[str, Blend]]:
    config, split = system.config, system.split
    system.say(f"measuring on the {part} items of all users")
    _, *other_tasks = config.task.ranking
    results = [system.measure(part)]
    if config.eval.prompt == "both":
        results.append(system.measure(part, prompt="unseen", name=f"{system.name} (unseen prompt)"))
    for task in other_tasks:
        suffix = "user id only" if task == "direct" else task
        results.append(system.measure(part, task=task, name=f"{system.name} ({suffix})"))
    if (record := embedder(config.embedder)).ranks:
        vectors = system.embedding.vectors
        results.append(
            evaluate_scores(
                record.title,
                InnerProductScorer(vectors),
                split,
                part,
                mask_seen=config.eval.mask_seen,
                baseline=True,
            )
        )
    results += evaluate_baselines(split, part, mask_seen=config.eval.mask_seen)
    blends: dict[str, Blend] = {}
    if config.eval.counts or config.eval.blend_with or config.eval.rerank:
        blends = _blends_with_baselines(system)
        there = {result.system for result in results}  # so are the counted baselines, and perhaps the embedder
        trained = {c.name: Blend.alone(c) for b in blends.values() for c in b.components if c.name not in there}
        rows = blends | {name.removesuffix(RERANKED): b.without_reranker for name, b in blends.items()} | trained
        ours = [name for name in rows if name.startswith(f"{system.name} + ")]
        others = [name for name in rows if name not in ours]
        ranked = evaluate_blends(
            {name: rows[name] for name in (*ours, *others)},
            split,
            part,
            mask_seen=config.eval.mask_seen,
            baselines=others,
        )
        results[1:1] = ranked[: len(ours)]
        results += ranked[len(ours) :]
    return [*results, *results_of_groups(results, split, part)], blends


def _blends_with_baselines(system: System) -> dict[str, Blend]:
    """Blends by their names, weighted on validation items: of the system with all baselines, and of these alone.

    The baselines are those of eval.blend_with, which are trained, and the counted ones. Names are the same in all
    seeds, whether or not cross-validation declines a re-ranker: "META ID + LightGCN + counts, re-ranked".
    """
    config, split = system.config, system.split
    trained = [_component_of_baseline(system, name) for name in _baselines_to_blend(system)]
    components = [catalogue_component(system), *trained, *counted_components(tuple(COUNTED_BASELINES), split.train)]
    system.say(f"weighting {', '.join(component.name for component in components)} on validation items")
    everything = range(len(components))
    blends = fit_blends(
        *(components, split, [everything, everything[1:]]),
        mask_seen=config.eval.mask_seen,
        seed=config.seed,
        clues=count_clues(split.train) if config.eval.rerank else None,
    )
    titles = [component.name for component in trained]
    ending = RERANKED if config.eval.rerank else ""
    names = [" + ".join([*start, *titles, COUNTS]) + ending for start in ([system.name], [])]
    return dict(zip(names, blends, strict=True))


def _baselines_to_blend(system: System) -> list[str]:
    """The baselines of eval.blend_with, without those for which the catalogue is too large."""
    n_items, names = system.data.n_items, []
    for name in system.config.eval.blend_with:
        record = BASELINES[name]
        if 0 < record.most_items < n_items:
            system.say(f"{record.title} is left out of the blend: {n_items:,} items, of at most {record.most_items:,}")
        else:
            names.append(name)
    return names


def _component_of_baseline(system: System, name: str) -> Component:
    """A trained baseline: trained in the run's folder, or read from there, or the run's own embedder."""
    if name == system.config.embedder:
        score = InnerProductScorer(system.embedding.vectors)
        return Component(embedder(name).title, score, score.of_strangers, "softmax")
    system.say(f"training {BASELINES[name].title} for the blend")
    settings, folder = BASELINES[name].settings, system.folder / "baselines"
    return trained_component(name, settings, system.split, system.config.seed, folder)


def build_results_report(system: System, part: str, measured: Measured, seconds: float | None) -> dict[str, Any]:
    """The content of results.json.

    Args:
      system: that was evaluated.
      part: "valid" or "test".
      measured: its results.
      seconds: duration of training and evaluation; None where it is not known.
    """
    config, events = system.config, system.events
    report = results_report(
        measured.ranks,
        system.split,
        part,
        dataset=config.data.name,
        seed=config.seed,
        mask_seen=config.eval.mask_seen,
        command=runs.command(),
        seconds=seconds,
    )
    if system.skipped_rows:
        report["skipped_rows"] = system.skipped_rows
    for key, (name, blend) in zip(("blend", "blend_of_baselines"), measured.blends.items(), strict=False):
        report[key] = {"system": name, **blend.to_dict()}
    id_report = system.folder / "ids.json"
    if id_report.is_file():
        report["ids"] = read_kept(id_report, "json", "delete it, and results have no figures of the ids")
    if system.embedding.report:
        report["embedder"] = system.embedding.report
    if config.task.ranking:
        report["ms_by_task"] = {task: round(milliseconds_per_user(system, task), 3) for task in config.task.ranking}
        report["ms_per_user"] = report["ms_by_task"][config.task.ranking[0]]
    if events is not None:
        sizes = {"train": len(events.train), "valid": len(events.valid), "test": len(events.test)}
        sizes["kept_out"] = len(events.kept_out)
        report["texts"] = text_report(measured.texts) | {"events": sizes, "examples": measured.examples}
    return report


def report_lines(report: dict[str, Any]) -> str:
    """The content of results.json as text tables."""
    return "\n\n".join(
        ([results_table(report)] if report["rows"] else []) + ([text_table(report)] if "texts" in report else [])
    )


def beam_gap_line(system: System, part: str, limit: int = 256) -> str:
    """A line that compares beam search with exact scoring: recall of the exact top ten, and log-probability shortfall.

    Args:
      system: with the recommender "exact".
      part: "valid" or "test".
      limit: maximum number of users to compare.
    """
    beam = dataclasses.replace(system, config=system.config.replace(eval__recommender="beam"))
    users, k = np.flatnonzero(system.split.target(part) >= 0)[:limit], min(10, system.data.n_items)
    histories = system.split.history(part)
    beam, exact = (dataclasses.replace(s, histories=histories) for s in (beam, system))
    gap = beam_gap(beam.recommend(users, k), exact.recommend(users, k))
    return (
        f"{system.config.eval.beams} beams on {len(users)} of these users: {np.mean(gap.recall):.2%} of the exact {k} "
        f"found, log-probabilities are {np.mean(gap.shortfall):.2e} lower"
    )


def milliseconds_per_user(system: System, task: str | None = None) -> float:
    """Milliseconds per user for a list of ten, prompt included, with the batch size of the config."""
    k = min(10, system.data.n_items)
    return milliseconds_each(lambda users: system.recommend(users, k, task), some_users(system))


def some_users(system: System, limit: int = 256) -> np.ndarray:
    """The first users with a history, at most `limit`, i64[*]."""
    return np.flatnonzero(np.diff(system.histories.offsets))[:limit]
