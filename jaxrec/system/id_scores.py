"""Scores of a run's ids before and after its training, and what they have to do with how well it recommends."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.stats

from jaxrec.evaluate.diversity import diversity, diversity_of_all
from jaxrec.evaluate.memorization import RatingSimilarity, fast_memorization, memorization
from jaxrec.files import write_whole
from jaxrec.hub.registry import language_model
from jaxrec.keys import stream
from jaxrec.system import run as runs
from jaxrec.system.stages import build
from jaxrec.system.system import System, method_name
from jaxrec.system.training import restore

FILE = "id_scores.json"
WHEN = ("before", "after")


def representations(system: System) -> dict[str, np.ndarray]:
    """The mean of each id's token embeddings, f32[n,D], for "items" and, where there are user ids, "users"; eq. (2).

    Embeddings are what the encoder (a decoder-only model) is fed: with the projected anchors and adapters. A causal
    user id is that of all training events.
    """
    model = language_model(system.model)
    tokens = {"items": system.item_tokens}
    train = system.split.train
    codes = system.user_codes(train, np.arange(train.n_users))
    if codes is not None:
        tokens["users"] = system.vocabulary.ids("<User>", codes).tokens
    return {who: np.asarray(model.embed(jnp.asarray(rows)).mean(axis=1)) for who, rows in tokens.items()}


def score_ids(system: System, *, pairs: int = 100_000) -> dict[str, Any]:
    """Diversity and memorization of a system's ids as it stands; META ID, section 4.

    Memorization is measured against the training events alone.

    Args:
      system: trained or not.
      pairs: how many are sampled for diversity.
    Returns:
      For JSON, for "items" and maybe "users": "diversity" of sampled pairs, its standard "error" and its "curve"
      ([pairs, mean, standard error]), "diversity_of_all", "memorization", "fast_memorization".
    """
    scores = {}
    for who, rows in representations(system).items():
        truth = RatingSimilarity.of(system.split.train, "item" if who == "items" else "user")
        sampled = diversity(rows, pairs=pairs, key=stream(system.key, f"pairs of {who}"))
        scores[who] = {
            "diversity": sampled.score,
            "error": sampled.error,
            "curve": list(zip(sampled.sizes.tolist(), sampled.curve.tolist(), sampled.errors.tolist())),
            "diversity_of_all": float(diversity_of_all(rows)),
            "memorization": memorization(rows, truth),
            "fast_memorization": fast_memorization(rows, truth),
        }
    return scores


def before_and_after(folder: str | os.PathLike[str], *, pairs: int = 100_000) -> dict[str, Any]:
    """Scores of a run's ids at the start of its training and with its best weights; leaves them in the folder.

    Args:
      folder: a trained run's.
      pairs: how many are sampled for diversity.
    Returns:
      What id_scores.json holds: "system", "ids", "ndcg@10" (None of a run that ranks no items), and "before" and
      "after" as `score_ids` gives them.
    Raises:
      ValueError: the folder holds no run, or one that is not measured yet.
    """
    folder = pathlib.Path(folder)
    run = runs.reopen(folder)
    file = folder / "results.json"
    if not file.is_file():
        raise ValueError(f"{folder} is not measured yet (no results.json); python -m launch.train finishes the run")
    rows = json.loads(file.read_text())["rows"]
    scores = {
        "system": rows[0]["system"] if rows else method_name(run.config),
        "ids": run.config.ids.kind,
        "ndcg@10": rows[0].get("ndcg@10") if rows else None,
        "before": score_ids(build(run, untrained=True), pairs=pairs),
        "after": score_ids(restore(build(run)), pairs=pairs),
    }
    write_whole(folder / FILE, json.dumps(scores, indent=1) + "\n")
    return scores


def correlations(runs: Sequence[dict[str, Any]], who: str) -> dict[str, tuple[float, float]]:
    """Rank correlation (Spearman) of NDCG@10 with the scores after training, and with their sum as in figure 2c.

    Returns:
      by score the correlation and its p: how often as large a one, up or down, comes of scores that are dealt out by
      chance, over all ways to deal them or 9,999 random ones. Empty for fewer than three runs; NaN where a score is the
      same for all.
    """
    rows = [run for run in runs if who in run["after"] and run["ndcg@10"] is not None]
    if len(rows) < 3:
        return {}
    scores = {name: [run["after"][who][name] for run in rows] for name in ("diversity", "memorization")}
    scores["sum"] = np.add(scores["diversity"], scores["memorization"]).tolist()
    ndcg = [run["ndcg@10"] for run in rows]
    return {name: _rank_correlation(values, ndcg) for name, values in scores.items()}


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    ranks, fixed = (scipy.stats.rankdata(values) for values in (one, other))
    if not np.ptp(ranks) or not np.ptp(fixed):
        return float("nan"), float("nan")
    test = scipy.stats.permutation_test(
        (ranks,),
        lambda dealt: np.corrcoef(dealt, fixed)[0, 1],
        permutation_type="pairings",
        rng=np.random.default_rng(0),
    )
    return float(test.statistic), float(test.pvalue)


def correlations_line(runs: Sequence[dict[str, Any]], who: str) -> str:
    """What `correlations` finds, in words; "" where it finds nothing."""
    if not (related := correlations(runs, who)):
        return ""
    n_runs = sum(who in run["after"] and run["ndcg@10"] is not None for run in runs)
    values = ", ".join(f"{name} {value:+.2f} (p {p:.2g})" for name, (value, p) in related.items())
    return f"rank correlation with NDCG@10 over {n_runs} runs (after training): {values}"


def id_scores_table(runs: dict[str, dict[str, Any]]) -> str:
    """Runs by name as aligned lines: for items and users the scores before and after, then the correlations."""
    lines = []
    width = max(len("run"), *map(len, runs))
    for who in ("items", "users"):
        runs_with = {name: run for name, run in runs.items() if who in run["after"]}
        if not runs_with:
            continue
        titles = "".join(f"{f'{score} {when}':>22}" for score in ("diversity", "memorization") for when in WHEN)
        lines.append(f"{f'ids of {who}':<{width}}{titles}{'NDCG@10':>10}")
        for name, run in runs_with.items():
            cells = "".join(
                [f"{run[when][who]['diversity']:>13.4f} ± {run[when][who]['error']:.4f}" for when in WHEN]
                + [f"{run[when][who]['memorization']:>22.4f}" for when in WHEN]
            )
            ndcg = "-" if run["ndcg@10"] is None else f"{run['ndcg@10']:.4f}"
            lines.append(f"{name:<{width}}{cells}{ndcg:>10}")
        if line := correlations_line(list(runs_with.values()), who):
            lines.append(line)
        lines.append("")
    return "\n".join(lines).rstrip()
