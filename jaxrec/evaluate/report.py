"""Results as files and as a table to read: results.json, ranks.npz, and one line a system."""

from __future__ import annotations

import json
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxrec import __version__
from jaxrec.evaluate.evaluate import Result
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.types import Split


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
      results: one a system, in the order of the table.
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
    text = folder / "results.json.tmp"
    text.write_text(json.dumps(found, indent=2) + "\n")
    ranks = folder / "ranks.tmp.npz"
    arrays: dict[str, Any] = {r.system: r.ranks for r in results}
    np.savez_compressed(ranks, **arrays)
    ranks.replace(folder / "ranks.npz")
    text.replace(folder / "results.json")


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
    return "\n".join([head, *lines])
