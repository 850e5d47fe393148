"""Diversity and memorization of a run's ids before and after training, and their correlation with NDCG@10."""

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
from jaxrec.files import read_kept, write_whole
from jaxrec.hub.registry import language_model
from jaxrec.keys import stream
from jaxrec.system import run as runs
from jaxrec.system.stages import build
from jaxrec.system.system import System, method_name
from jaxrec.system.training import restore

FILE = "id_scores.json"
WHEN = ("before", "after")


def representations(system: System) -> dict[str, np.ndarray]:
    """Mean token embedding of each id, f32[n,D], for "items" and, if prompts hold user ids, "users"; META ID, eq. 2.

    The embeddings are the input embeddings of the encoder (or decoder-only model), with OOV projection and LoRA.
    Causal user ids are those of the whole training history.
    """
    model = language_model(system.model)
    tokens = {"items": system.item_tokens}
    train = system.split.train
    codes = system.user_id_codes(train, np.arange(train.n_users))
    if codes is not None:
        tokens["users"] = system.vocabulary.ids("<User>", codes).tokens
    return {entity: np.asarray(model.embed(jnp.asarray(rows)).mean(axis=1)) for entity, rows in tokens.items()}


def score_ids(system: System, *, pairs: int = 100_000) -> dict[str, Any]:
    """Diversity and memorization of a system's ids with its current weights; META ID, section 4.

    Memorization is computed from training events only.

    Args:
      system: trained or untrained.
      pairs: number of pairs sampled for diversity.
    Returns:
      JSON values by "items" and, if prompts hold user ids, "users": "diversity" of sampled pairs, its standard "error"
      and its "curve" ([pairs, mean, standard error]), "diversity_of_all", "memorization", "fast_memorization".
    """
    scores = {}
    for entity, rows in representations(system).items():
        similarity = RatingSimilarity.of(system.split.train, "item" if entity == "items" else "user")
        sampled = diversity(rows, pairs=pairs, key=stream(system.key, f"pairs of {entity}"))
        scores[entity] = {
            "diversity": sampled.score,
            "error": sampled.error,
            "curve": list(zip(sampled.sizes.tolist(), sampled.curve.tolist(), sampled.errors.tolist())),
            "diversity_of_all": float(diversity_of_all(rows)),
            "memorization": memorization(rows, similarity),
            "fast_memorization": fast_memorization(rows, similarity),
        }
    return scores


def before_and_after(folder: str | os.PathLike[str], *, pairs: int = 100_000) -> dict[str, Any]:
    """Scores of a run's ids with its initial and its best weights; also written to id_scores.json in its folder.

    Args:
      folder: of a trained run.
      pairs: number of pairs sampled for diversity.
    Returns:
      The content of id_scores.json: "system", "ids", "ndcg@10" (None where the run ranks no items), and "before" and
      "after" as returned by `score_ids`.
    Raises:
      ValueError: the folder holds no run, or one without results.json.
    """
    folder = pathlib.Path(folder)
    run = runs.reopen(folder)
    file = folder / "results.json"
    if not file.is_file():
        raise ValueError(f"{folder} is not measured yet (no results.json); python -m launch.train finishes the run")
    rows = read_kept(file, "json", "delete it, and the run's train command measures anew")["rows"]
    scores = {
        "system": rows[0]["system"] if rows else method_name(run.config),
        "ids": run.config.ids.kind,
        "ndcg@10": rows[0].get("ndcg@10") if rows else None,
        "before": score_ids(build(run, untrained=True), pairs=pairs),
        "after": score_ids(restore(build(run)), pairs=pairs),
    }
    write_whole(folder / FILE, json.dumps(scores, indent=1) + "\n")
    return scores


def correlations(runs: Sequence[dict[str, Any]], entity: str) -> dict[str, tuple[float, float]]:
    """Spearman correlation of NDCG@10 with each score after training, and with their sum; META ID, figure 2c.

    Args:
      runs: each as returned by `before_and_after`.
      entity: "items" or "users".
    Returns:
      By score ("diversity", "memorization", "sum"), the correlation and its two-sided p-value by a permutation test
      over all permutations, or 9,999 random ones. Empty for fewer than three runs; NaN where a score is the same for
      all.
    """
    rows = [run for run in runs if entity in run["after"] and run["ndcg@10"] is not None]
    if len(rows) < 3:
        return {}
    scores = {name: [run["after"][entity][name] for run in rows] for name in ("diversity", "memorization")}
    scores["sum"] = np.add(scores["diversity"], scores["memorization"]).tolist()
    ndcg = [run["ndcg@10"] for run in rows]
    return {name: _rank_correlation(values, ndcg) for name, values in scores.items()}


def _rank_correlation(scores: Sequence[float], ndcg: Sequence[float]) -> tuple[float, float]:
    score_ranks, ndcg_ranks = (scipy.stats.rankdata(values) for values in (scores, ndcg))
    if not np.ptp(score_ranks) or not np.ptp(ndcg_ranks):
        return float("nan"), float("nan")
    test = scipy.stats.permutation_test(
        (score_ranks,),
        lambda permuted: np.corrcoef(permuted, ndcg_ranks)[0, 1],
        permutation_type="pairings",
        rng=np.random.default_rng(0),
    )
    return float(test.statistic), float(test.pvalue)


def correlations_line(runs: Sequence[dict[str, Any]], entity: str) -> str:
    """`correlations` as a line of text; "" for fewer than three runs."""
    if not (by_score := correlations(runs, entity)):
        return ""
    n_runs = sum(entity in run["after"] and run["ndcg@10"] is not None for run in runs)
    values = ", ".join(f"{name} {value:+.2f} (p {p:.2g})" for name, (value, p) in by_score.items())
    return f"rank correlation with NDCG@10 over {n_runs} runs (after training): {values}"


def id_scores_table(runs: dict[str, dict[str, Any]]) -> str:
    """Scores of runs, by name, as a text table: for items and users before and after training, then correlations."""
    lines = []
    width = max(len("run"), *map(len, runs))
    for entity in ("items", "users"):
        runs_with = {name: run for name, run in runs.items() if entity in run["after"]}
        if not runs_with:
            continue
        titles = "".join(f"{f'{score} {when}':>22}" for score in ("diversity", "memorization") for when in WHEN)
        lines.append(f"{f'ids of {entity}':<{width}}{titles}{'NDCG@10':>10}")
        for name, run in runs_with.items():
            cells = "".join(
                [f"{run[when][entity]['diversity']:>13.4f} ± {run[when][entity]['error']:.4f}" for when in WHEN]
                + [f"{run[when][entity]['memorization']:>22.4f}" for when in WHEN]
            )
            ndcg = "-" if run["ndcg@10"] is None else f"{run['ndcg@10']:.4f}"
            lines.append(f"{name:<{width}}{cells}{ndcg:>10}")
        if line := correlations_line(list(runs_with.values()), entity):
            lines.append(line)
        lines.append("")
    return "\n".join(lines).rstrip()
