"""results.json and ranks.npz: metrics of one part of a split, with everything needed to reproduce them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import platform
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrec import __version__
from jaxrec.evaluate.bootstrap import paired_bootstrap
from jaxrec.evaluate.full_ranking import Result
from jaxrec.evaluate.ranking import user_values
from jaxrec.files import kept_file, write_kept
from jaxrec.types import Split

COMPARED = ("hr@10", "ndcg@10")
"""Metrics that are compared with the best baseline and reported under ties."""


def results_report(
    results: Sequence[Result],
    split: Split,
    part: str,
    *,
    dataset: str,
    seed: int,
    mask_seen: bool = True,
    command: str | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """The content of results.json: a row per system, intervals, and everything needed to reproduce them.

    Args:
      results: one per system, in the order of the table; the first and its blends are compared with the best of the
        baselines, and with the best blend of baselines.
      split: the split they were measured on; names the protocol.
      part: "valid" or "test".
      dataset: its name, for display.
      seed: the run's seed.
      mask_seen: whether the items of the history were left out of the ranking.
      command: the command line of the run.
      seconds: duration of the whole run.
    Raises:
      ValueError: two systems share a name, or the number of ranks is not the number of users of the split.
    """
    names = [r.system for r in results]
    if len(set(names)) < len(names):
        raise ValueError(f"results name a system twice: {', '.join(names)}; give each its own name")
    for r in results:
        if r.ranks.shape != split.test.shape:
            raise ValueError(f"{r.system} has {len(r.ranks)} ranks for the {len(split.test)} users of this split")
    report: dict[str, Any] = {
        "dataset": dataset,
        "protocol": split.protocol,
        "part": part,
        "seed": seed,
        "n_items": split.train.n_items,
        "mask_seen": mask_seen,
        "rows": [r.row() for r in results],
        "intervals": _intervals(results),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores",
        "versions": {"jax": jax.__version__, "jaxrec": __version__, "python": platform.python_version()},
    }
    if command is not None:
        report["command"] = command
    if seconds is not None:
        report["seconds"] = round(seconds, 1)
    return report


def write_results(folder: pathlib.Path, report: dict[str, Any], results: Sequence[Result]) -> None:
    """Writes results.json (`report`) and ranks.npz (an array f32[U] per system, by name) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {r.system: r.ranks for r in results}
    with kept_file(folder / "ranks.npz") as part, part.open("wb") as opened:
        np.savez_compressed(opened, **arrays)
    write_kept(folder / "results.json", json.dumps(report, indent=2) + "\n")


def against_best_baseline(
    system: str,
    ours: Mapping[str, np.ndarray],
    baselines: Mapping[str, Mapping[str, np.ndarray]],
    blended: Collection[str] = (),
) -> list[dict[str, Any]]:
    """For each metric, a paired bootstrap of the difference between a system and the best baseline; for results.json.

    Where there are blends of baselines, the system is compared with the best of these, too.

    Args:
      system: its name.
      ours: each user's contribution by metric, f64[U], NaN = not ranked.
      baselines: the same by name; baselines that ranked other users are not compared.
      blended: names of baselines that are blends.
    """
    kinds = [name for name in baselines if name not in blended], [name for name in baselines if name in blended]
    intervals = []
    for metric, kind in itertools.product(ours, kinds):
        unranked = np.isnan(ours[metric])
        of_kind = {name: baselines[name][metric] for name in kind if metric in baselines[name]}
        rivals = {name: values for name, values in of_kind.items() if _same(np.isnan(values), unranked)}
        if rivals:
            best = max(rivals, key=lambda name: np.nanmean(rivals[name]))
            interval = paired_bootstrap(ours[metric], rivals[best])
            intervals.append({"system": system, "baseline": best, "metric": metric, **dataclasses.asdict(interval)})
    return intervals


def _intervals(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Comparisons of the first system, its blend "SYSTEM + ...", and their user groups, with the best baseline."""
    values = {r.system: _user_values(r) for r in results}
    baselines = {r.system: values[r.system] for r in results if r.baseline}
    blended = {r.system for r in results if r.blended}
    if not results or results[0].baseline:
        return []
    own = results[0].system
    systems = [name for name in values if name == own or name.startswith((f"{own}, ", f"{own} + "))]
    return [interval for name in systems for interval in against_best_baseline(name, values[name], baselines, blended)]


def _user_values(result: Result) -> dict[str, np.ndarray]:
    """Each user's contribution by metric, for metrics whose cutoff the lists reach."""
    reached = [m for m in COMPARED if result.listed is None or int(m.partition("@")[2]) <= result.listed]
    return {metric: user_values(result.ranks, metric) for metric in reached}


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((a == b).all())
