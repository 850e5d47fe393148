"""Ratings and texts of several runs as one table: the part of `compare` that is about tasks that write."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from jaxrec.evaluate.texts import METRICS

Joined = dict[tuple[str, str], dict[str, Any]]
"""Rows by (task, system): lists of values by seed for every metric."""


def join(rows: Joined, found: dict[str, Any], name: str, own: str, seed: int) -> None:
    """Adds a run's rows; those of its own method get the name that the study gives it.

    Args:
      rows: what other runs had; changed.
      found: the run's results.json.
      name: what the study calls the run.
      own: what the run calls its method.
      seed: of the run.
    """
    texts = found.get("texts", {"rows": []})
    for row in texts["rows"]:
        system, taught = row["system"], texts["events"]["train"]
        if not row["baseline"]:
            system = name + system.removeprefix(own)
        elif (known := rows.get((row["task"], system))) and known["taught"] != taught:
            system = f"{system} [{name}]"  # it learned from other events, as leave-one-out holds some back or not
        about = {"task": row["task"], "system": system, "baseline": row["baseline"], "taught": taught, "seeds": []}
        kept = rows.setdefault((row["task"], system), about)
        if seed in kept["seeds"]:
            continue
        kept["seeds"].append(seed)
        for metric in (*METRICS, "n", "ms"):
            if metric in row:
                kept.setdefault(metric, []).append(row[metric])


def lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Aligned lines, task by task; mean and, over several seeds, standard deviation."""
    told: list[str] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = sorted((row for row in rows if row["task"] == task), key=lambda row: row["baseline"])
        metrics = [metric for metric in METRICS if metric in mine[0]]
        width = max(len(task), *(len(row["system"]) for row in mine))
        told += ["", f"{task:<{width}}" + "".join(f"{m.upper():>18}" for m in metrics) + f"{'events':>9}"]
        for row in mine:
            cells = "".join(f"{_spread(row[metric], metric):>18}" for metric in metrics)
            told.append(f"{row['system']:<{width}}{cells}{max(row['n']):>9,}")
    return told


def _spread(values: Sequence[float], metric: str) -> str:
    digits = 4 if metric in ("rmse", "mae") else 2
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"
