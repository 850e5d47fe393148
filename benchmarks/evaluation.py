"""Evaluation of all users over all items: batches on the device beside a loop over users in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.data import beauty_or_generated
from jaxrec.evaluate.full_ranking import evaluate_scores
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.types import Histories

name = "evaluation"
reach, aim = 10.0, 10.0

WIDTH = 64


def cases(quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
    """Vectors of width 64 score every item; seen items are left out, ties count half, nine metrics are averaged."""
    split, source = beauty_or_generated(quick)
    rng = np.random.default_rng(0)
    users = rng.normal(size=(split.train.n_users, WIDTH)).astype(np.float32)
    items = rng.normal(size=(split.train.n_items, WIDTH)).astype(np.float32)
    # Whole numbers: sums are exact in any order, so both sides see the same ties.
    users, items = np.round(users), np.round(items)
    device_users, device_items = jax.device_put(users), jax.device_put(items)
    histories = split.history("test")

    @jax.jit
    def product(users: jax.Array, items: jax.Array, rows: jax.Array) -> jax.Array:
        return jnp.matmul(users[rows], items.T)

    def score(_: Histories, rows: np.ndarray) -> jax.Array:
        return product(device_users, device_items, rows)

    def ours() -> dict[str, str | float]:
        return evaluate_scores("vectors", score, split, "test").row()

    def peer() -> dict[str, float]:
        total = {f"{metric}@{k}": 0.0 for k in CUTOFFS for metric in ("hr", "ndcg", "mrr")}
        for user, target in enumerate(split.test):
            scores = items @ users[user]
            target_score = scores[target]
            scores[histories.of(user)] = -np.inf
            scores[target] = -np.inf
            rank = 1 + np.count_nonzero(scores > target_score) + 0.5 * np.count_nonzero(scores == target_score)
            for k in CUTOFFS:
                if rank < k + 1:
                    total[f"hr@{k}"] += 1
                    total[f"ndcg@{k}"] += 1 / np.log2(1 + rank)
                    total[f"mrr@{k}"] += 1 / rank
        return {metric: value / len(split.test) for metric, value in total.items()}

    our_metrics, peer_metrics = ours(), peer()
    for metric, value in peer_metrics.items():
        np.testing.assert_allclose(our_metrics[metric], value, rtol=1e-6)
    n_users, n_items = split.train.n_users, split.train.n_items
    note = f"{source}, {n_users:,} users x {n_items:,} items, width {WIDTH}; the peer does not sort; metrics equal"
    return ours, peer, n_users, "users", note
