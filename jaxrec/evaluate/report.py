"""Results as files and as a table to read: results.json, ranks.npz, and one line a system."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrec import __version__
from jaxrec.evaluate.bootstrap import LEVEL, paired_bootstrap
from jaxrec.evaluate.evaluate import Result
from jaxrec.evaluate.ranking import CUTOFFS, user_values
from jaxrec.files import whole_file, write_whole
from jaxrec.types import Split

COMPARED = ("hr@10", "ndcg@10")
"""Metrics by which systems are held against the best baseline, and shown under ties."""


def report(
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
    """What results.json holds: the rows, and all that is needed to read and repeat them.

    Args:
      results: one a system, in the order of the table; the first is held against the best of the baselines.
      split: what they were measured on; names the protocol.
      part: "valid" or "test".
      dataset: its name, for people.
      seed: the run's seed.
      mask_seen: whether the items of the history were left out of the ranking.
      command: the command line that made the run.
      seconds: how long the whole run took.
    Raises:
      ValueError: two systems share a name, or ranks are not one a user of the split.
    """
    names = [r.system for r in results]
    if len(set(names)) < len(names):
        raise ValueError(f"results name a system twice: {', '.join(names)}; give each its own name")
    for r in results:
        if r.ranks.shape != split.test.shape:
            raise ValueError(f"{r.system} has {len(r.ranks)} ranks for the {len(split.test)} users of this split")
    found: dict[str, Any] = {
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
        found["command"] = command
    if seconds is not None:
        found["seconds"] = round(seconds, 1)
    return found


def write(folder: pathlib.Path, found: dict[str, Any], results: Sequence[Result]) -> None:
    """Write results.json (`found`) and ranks.npz (an array f32[U] a system, by name) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {r.system: r.ranks for r in results}
    with whole_file(folder / "ranks.npz") as part, part.open("wb") as opened:
        np.savez_compressed(opened, **arrays)
    write_whole(folder / "results.json", json.dumps(found, indent=2) + "\n")


def table(found: dict[str, Any]) -> str:
    """A report as aligned lines; the head names dataset, protocol and part, so that no number travels without them."""
    masked = "seen items left out" if found["mask_seen"] else "seen items kept"
    head = (
        f"{found['dataset']}, {found['protocol']} protocol, {found['part']} part, seed {found['seed']}: "
        f"all {found['n_items']:,} items ranked, {masked}, ties count half"
    )
    columns = [f"{metric}@{k}" for k in CUTOFFS for metric in ("hr", "ndcg", "mrr")]
    width = max(len("system"), *(len(row["system"]) for row in found["rows"]))
    lines = [f"{'system':<{width}}" + "".join(f"{c.upper():>9}" for c in columns) + f"{'users':>9}"]
    for row in found["rows"]:
        values = "".join(f"{row[c]:>9.4f}" if c in row else f"{'-':>9}" for c in columns)
        lines.append(f"{row['system']:<{width}}{values}{row['n_users']:>9,}")
    return "\n".join([head, *lines, *below(found["rows"], found.get("intervals", ()))])


def against_best(
    system: str, ours: Mapping[str, np.ndarray], baselines: Mapping[str, Mapping[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """What results.json holds of a system beside the best baseline: for each metric, who it is and how far off.

    Args:
      system: its name.
      ours: by metric, what each user adds to it, f64[U], NaN = not asked.
      baselines: the same by name; those that were asked about other users are not compared.
    """
    found = []
    for metric in ours:
        asked = np.isnan(ours[metric])
        rivals = {n: v[metric] for n, v in baselines.items() if metric in v and _same(np.isnan(v[metric]), asked)}
        if rivals:
            best = max(rivals, key=lambda name: np.nanmean(rivals[name]))
            interval = paired_bootstrap(ours[metric], rivals[best])
            found.append({"system": system, "baseline": best, "metric": metric, **dataclasses.asdict(interval)})
    return found


def below(rows: Sequence[Mapping[str, Any]], intervals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for below a table: intervals, and metrics under the orders of tied items where those change what is shown.

    Args:
      rows: of results.json; "ties" as of `Result.row`, where there are any.
      intervals: of results.json.
    """
    lines = [
        f"{i['system']} - {i['baseline']}, {i['metric'].upper()}: {i['difference']:+.4f} "
        f"[{i['low']:+.4f}, {i['high']:+.4f}], {LEVEL:.0%} paired bootstrap over {i['n_users']:,} users"
        for i in intervals
    ]
    orders, metrics = ("optimistic", "expected", "pessimistic"), [m.upper() for m in COMPARED]
    tied = []
    for row in rows:
        if not (ties := row.get("ties")):
            continue
        shown = [[f"{ties[o][m]:.4f}" for o in orders] for m in COMPARED if m in ties["optimistic"]]
        if any(len(set(values)) > 1 for values in shown):
            tied.append((row["system"], f"{ties['share']:.1%}", [" ".join(f"{v:>11}" for v in vs) for vs in shown]))
    if tied:
        width = max(len("ties"), *(len(system) for system, *_ in tied))
        lines.append(f"{'':<{width}}{'targets':>9}" + "".join(f"{m:>38}" for m in metrics))
        names = " ".join(f"{o:>11}" for o in orders)
        lines.append(f"{'ties':<{width}}{'tied':>9}" + f"   {names}" * len(metrics))
        lines += [f"{system:<{width}}{share:>9}" + "".join(f"   {v}" for v in values) for system, share, values in tied]
    return lines


def _intervals(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The first system, and its rows for some of the users alone, beside the best baselines of the same users."""
    values = {r.system: _compared(r) for r in results}
    baselines = {r.system: values[r.system] for r in results if r.baseline}
    if not results or results[0].baseline:
        return []
    own = results[0].system
    systems = [name for name in values if name == own or name.startswith(f"{own}, ")]
    return [found for name in systems for found in against_best(name, values[name], baselines)]


def _compared(result: Result) -> dict[str, np.ndarray]:
    """By metric, what each user adds to it; without metrics whose cutoff the lists don't reach."""
    reached = [m for m in COMPARED if result.listed is None or int(m.partition("@")[2]) <= result.listed]
    return {metric: user_values(result.ranks, metric) for metric in reached}


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())
