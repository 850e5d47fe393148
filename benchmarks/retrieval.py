"""The 20 nearest of a million items for 256 users by inner product of unit vectors, beside faiss's flat index."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import jax
import numpy as np

from jaxrec.recommend.retrieval import nearest_items, norms_of

name = "retrieval"
reach, aim = 1.0, 1.5

USERS, ITEMS, WIDTH, K = 256, 1_000_000, 64, 20
TOLERANCE = 1e-5  # of a cosine; both sum 64 products in float32, in another order


def cases(quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
    """Both sides search the same random unit vectors with the users' vectors in one batch.

    Their results are equal, except where two scores differ by less than the tolerance.
    """
    import faiss

    n_items = ITEMS // 50 if quick else ITEMS
    rng = np.random.default_rng(0)
    users, items = (_units(rng, n) for n in (USERS, n_items))
    index = faiss.IndexFlatIP(WIDTH)
    index.add(items)  # pyright: ignore[reportCallIssue]
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    on_device = jax.device_put(items)
    norms = jax.jit(norms_of)(on_device)
    find = jax.jit(functools.partial(nearest_items, k=K))

    def ours() -> tuple[np.ndarray, np.ndarray]:
        top = find(users, on_device, norms=norms)
        return np.asarray(top.scores), np.asarray(top.items)

    def peer() -> tuple[np.ndarray, np.ndarray]:
        return index.search(users, K)  # pyright: ignore[reportCallIssue]

    (scores, our_items), (their_scores, their_items) = ours(), peer()
    np.testing.assert_allclose(scores, their_scores, atol=TOLERANCE)
    in_common = (our_items[:, :, None] == their_items[:, None, :]).any(-1)
    last = their_scores[:, -1:]
    assert (in_common | (scores - last < TOLERANCE)).all(), "an item that faiss finds is missing"
    giga = 2e-9 * USERS * n_items * WIDTH
    note = (
        f"top {K} of {n_items:,} x {WIDTH} in float32, {USERS} users a batch, exact on both sides, {giga:.1f} GFLOP of "
        f"products a batch; faiss-cpu {faiss.__version__} IndexFlatIP on {os.cpu_count()} threads; "
        f"recall of faiss's list {in_common.mean():.4f}"
    )
    return ours, peer, giga, "GFLOP", note


def _units(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random directions, f32[count, WIDTH]."""
    vectors = rng.standard_normal((count, WIDTH), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
