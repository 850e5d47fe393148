"""Blends runs and baselines, evaluates the blend beside its parts, and keeps it in a folder."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.baselines.clues import count_clues
from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.baselines.registry import Settings
from jaxrec.evaluate.blend_fitting import fit_blends
from jaxrec.evaluate.blending import METRIC, RERANKED, Blend, evaluate_blends
from jaxrec.evaluate.full_ranking import results_of_groups
from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.results_file import COMPARED, against_best_baseline, results_report, write_results
from jaxrec.files import write_whole
from jaxrec.inference.blend_parts import groups_of_seeds, read_parts
from jaxrec.inference.blends import BLEND_FILE, BlendedParts, name_of_blend
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
    baselines = [m for m, part in enumerate(parts) if part.kind != "run"]
    subsets = [range(len(parts)), *([baselines] if 2 <= len(baselines) < len(parts) else [])]
    blend, *of_baselines = fit_blends(
        [part.component for part in parts],
        run.split,
        subsets,
        groups=groups_of_seeds(parts),
        mask_seen=run.config.eval.mask_seen,
        most_users=most_users,
        seed=run.config.seed,
        clues=count_clues(run.split.train) if rerank else None,
    )
    blended = BlendedParts(folder, tuple(parts), blend)
    folder.mkdir(parents=True, exist_ok=True)
    others = {name_of_blend([parts[m] for m in baselines]): blend for blend in of_baselines}
    _evaluate(blended, others, started, rerank=rerank)
    _write(blended, time.monotonic() - started)
    return blended


def _trained(name: str, run: Run, folder: pathlib.Path, settings: Any) -> pathlib.Path:
    """The folder NAME-SEED of a baseline that is trained on a run's split, or was trained there already."""
    config = dataclasses.replace(run.config, out=str(folder / f"{name}-{run.config.seed}"))
    train_baseline(name, config, settings)
    return config.folder


def _evaluate(blended: BlendedParts, of_baselines: Mapping[str, Blend], started: float, *, rerank: bool) -> None:
    """Writes results.json and ranks.npz: the blend, its trained parts alone, and baselines.

    Args:
      blended: the blend.
      of_baselines: blends without its runs, by name.
      started: when, by `time.monotonic`.
      rerank: whether re-rankers were wanted; the table says where there is none.
    """
    run, parts, blend = blended.run, blended.parts, blended.blend
    mask_seen, split = run.config.eval.mask_seen, run.split
    reranked = {f"{name}{RERANKED}": other for name, other in of_baselines.items() if other.reranker is not None}
    others = reranked | {name: other.without_reranker for name, other in of_baselines.items()}
    alone = {
        kind: {p.name: Blend.alone(c) for p, c in zip(parts, blend.components, strict=True) if p.kind == kind}
        for kind in ("run", "baseline")
    }
    baselines = others | alone["baseline"]
    rows = {blended.name: blend, name_of_blend(parts): blend.without_reranker, **alone["run"], **baselines}
    logger.info("blend: ranking the test items of all users")
    results = evaluate_blends(rows, split, "test", mask_seen=mask_seen, baselines=list(baselines))
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
    for name, other in of_baselines.items():
        system = f"{name}{RERANKED}" if other.reranker is not None else name
        report["blend_of_baselines"] = {"system": system, **other.to_dict()}
    for key in ("blend", "blend_of_baselines"):
        if rerank and key in report and "reranker" not in report[key]:
            report[key]["declined"] = True
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
