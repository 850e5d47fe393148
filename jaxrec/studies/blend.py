"""Blends runs and baselines, evaluates the blend beside its parts, and keeps it in a folder."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from jaxrec.baselines.clues import count_clues
from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.baselines.registry import Settings
from jaxrec.evaluate.blend_fitting import fit_blend
from jaxrec.evaluate.blending import METRIC, RERANKED, evaluate_blend
from jaxrec.evaluate.full_ranking import results_of_groups
from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.results_file import COMPARED, against_best_baseline, results_report, write_results
from jaxrec.files import write_whole
from jaxrec.inference.blend_parts import groups_of_seeds, read_parts
from jaxrec.inference.blends import BLEND_FILE, BlendedParts
from jaxrec.progress import logger
from jaxrec.studies.baselines import train_baseline
from jaxrec.system.run import Run, command
from jaxrec.system.system import System


def make_blend(
    sources: Sequence[System | str | os.PathLike[str]],
    folder: pathlib.Path | None = None,
    *,
    most_users: int = 5000,
    rerank: bool = False,
    settings: Any = None,
) -> BlendedParts:
    """Loads parts, chooses their weights on validation items, and evaluates the blend on the test items.

    Parts that differ in the seed alone share a weight: a search would only follow the noise of the validation sample.

    Args:
      sources: see `read_parts`.
      folder: gets blend.json, results.json and ranks.npz, replacing those of an earlier blend; None: runs/NAME_blend.
      most_users: maximum number of validation users to choose weights by, see `fit_blend`.
      rerank: whether a re-ranker is fitted.
      settings: `baselines.registry.Settings` of baselines that are trained; None: the defaults.
    Raises:
      ValueError: the parts can't be read or don't go together, or the folder holds a run.
    """
    started = time.monotonic()
    folder = folder or _default_folder(sources)
    if (folder / "config.json").exists():
        raise ValueError(f"{folder} holds a run; give the blend a folder of its own: --out FOLDER")
    parts = read_parts(sources, lambda name, run: _trained(name, run, folder, settings or Settings()))
    run = next(part.run for part in parts if part.run is not None)
    logger.info("blend: weighting %s on validation items", ", ".join(part.name for part in parts))
    blend = fit_blend(
        [part.component for part in parts],
        run.split,
        groups=groups_of_seeds(parts),
        mask_seen=run.config.eval.mask_seen,
        most_users=most_users,
        seed=run.config.seed,
        clues=count_clues(run.split.train) if rerank else None,
    )
    blended = BlendedParts(folder, tuple(parts), blend)
    folder.mkdir(parents=True, exist_ok=True)
    _evaluate(blended, started)
    _write(blended, time.monotonic() - started)
    return blended


def _trained(name: str, run: Run, folder: pathlib.Path, settings: Any) -> pathlib.Path:
    """The folder NAME-SEED of a baseline that is trained on a run's split, or was trained there already."""
    config = dataclasses.replace(run.config, out=str(folder / f"{name}-{run.config.seed}"))
    train_baseline(name, config, settings)
    return config.folder


def _evaluate(blended: BlendedParts, started: float) -> None:
    """Writes results.json and ranks.npz: the blend, its trained parts alone, and the counted baselines."""
    run, parts, blend = blended.run, blended.parts, blended.blend
    mask_seen, split = run.config.eval.mask_seen, run.split
    alone = {part.name: tuple(float(other is part) for other in parts) for part in parts if part.kind != "counted"}
    reranked = blended.name if blend.reranker is not None else ""
    rows = {blended.name.removesuffix(RERANKED): blend.weights, **alone}
    trained_baselines = [part.name for part in parts if part.kind == "baseline"]
    logger.info("blend: ranking the test items of all users")
    results = evaluate_blend(
        blend, rows, split, "test", mask_seen=mask_seen, baselines=trained_baselines, reranked=reranked
    )
    results += evaluate_baselines(split, "test", mask_seen=mask_seen)
    report = results_report(
        [*results, *results_of_groups(results, split, "test")],
        split,
        "test",
        dataset=run.config.data.name,
        seed=run.config.seed,
        mask_seen=mask_seen,
        command=command(),
        seconds=time.monotonic() - started,
    )
    runs = {part.name for part in parts if part.kind == "run"}
    values = {r.system: {metric: user_values(r.ranks, metric) for metric in COMPARED} for r in results}
    report["intervals"] += against_best_baseline(
        blended.name, values[blended.name], {name: values[name] for name in values if name in runs}
    )
    report["blend"] = {"system": blended.name, **blend.to_dict()}
    write_results(blended.folder, report, results)


def _write(blended: BlendedParts, seconds: float) -> None:
    """Writes blend.json; folders of parts are relative to its own."""
    run, blend = blended.run, blended.blend
    parts = [
        {
            "name": part.name,
            "kind": part.kind,
            "folder": None
            if part.run is None
            else pathlib.Path(os.path.relpath(part.run.folder, blended.folder)).as_posix(),
            "weight": weight,
            "distribution": component.distribution,
            "parameter": component.parameter,
        }
        for part, component, weight in zip(blended.parts, blend.components, blend.weights, strict=True)
    ]
    content = {
        "parts": parts,
        "dataset": run.config.data.name,
        "protocol": run.split.protocol,
        "mask_seen": run.config.eval.mask_seen,
        "validation": {
            "metric": METRIC,
            "value": blend.ndcg,
            "users": blend.users,
            "seed": blend.seed,
            "tries": blend.tries,
        },
        "command": command(),
        "seconds": round(seconds, 1),
    }
    if blend.reranker is not None:
        content["reranker"] = blend.reranker.to_dict()
    write_whole(blended.folder / BLEND_FILE, json.dumps(content, indent=1) + "\n")


def _default_folder(sources: Sequence[System | str | os.PathLike[str]]) -> pathlib.Path:
    """`runs/NAME_blend`, named after the first part."""
    first = sources[0] if sources else "no"
    name = first.config.name if isinstance(first, System) else pathlib.Path(first).name
    return pathlib.Path(f"runs/{name}_blend")
