"""Latency of a top-10 list for a user: TokenRec's retrieval beside beam search over ids, with the same T5 and prompts.

`python -m benchmarks.latency [--quick] [--out FOLDER]` times the search of retrieval alone, among a million items.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from benchmarks.token_rec import ROOT, World, make_world, retriever
from jaxrec.config import T5Config, load_config
from jaxrec.evaluate.seen_items import seen_rows
from jaxrec.models.retriever import Retriever
from jaxrec.recommend.retrieval import VectorRecommender, nearest_items, norms_of
from jaxrec.recommend.trie_recommender import TrieRecommender
from jaxrec.tasks.ragged import pad_rows
from jaxrec.tasks.ranking_examples import Prompts, recent_events
from jaxrec.tasks.templates import templates
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import TopK

name = "latency"
reach, aim = 5.0, 10.0

BATCH, K, BEAMS = 64, 10, 20
MAX_HISTORY = 20
WORDS = 32128  # T5's own vocabulary, which beam search normalises over
TOLERANCE = 1e-4  # of a cosine
QUICK = T5Config(d_model=64, d_kv=16, heads=4, d_ff=128, encoder_layers=2, decoder_layers=2)


def cases(quick: bool) -> tuple[Callable[[], TopK], Callable[[], TopK], float, str, str]:
    """Recommendations for users of Beauty from their newest items; both sides leave out the items a user has seen.

    The two sides rank by different models, so each is checked alone: our lists against a brute-force search, the
    peer's for ten different unseen items.
    """
    data = make_world(quick, numbered=True)
    source, seen = _prompts(data, BATCH if quick else 4 * BATCH)
    config = load_config(ROOT / "configs" / "meta_id_beauty.py")
    shape = QUICK if quick else config.model.t5
    if jax.default_backend() == "cpu":  # where bfloat16 is slow
        shape = dataclasses.replace(shape, compute_dtype="float32")
    vocab = data.words.size if quick else -(-(WORDS + len(data.words.new_tokens)) // 128) * 128
    model = retriever(data, dataclasses.replace(shape, vocab=vocab), config)
    items = model.items[...][: len(data.items)]
    by_vector = VectorRecommender(model, items, query=_query, batch_users=BATCH)
    by_id = TrieRecommender(model.backbone, Trie.build(data.items), beams=BEAMS, batch_users=BATCH)

    def ours() -> TopK:
        return by_vector(source, seen, K)

    def peer() -> TopK:
        return by_id(source, seen, K)

    with jax.default_matmul_precision("highest"):  # the check needs full precision; the timing uses the default
        _check(model, np.asarray(items), source, seen, ours())
    items_by_id = peer().items
    assert all(
        len(set(row)) == K and -1 not in row and not set(row) & set(user_seen)
        for row, user_seen in zip(items_by_id, seen)
    )
    ours()
    each = [1000 * _seconds(work) / len(source) for work in (ours, peer)]
    lengths = np.count_nonzero(source, axis=1)
    note = (
        f"TokenRec's table 5, where retrieval is about 13 times faster: {data.source}, {len(items):,} items, T5 of "
        f"width {shape.d_model} with {shape.encoder_layers}+{shape.decoder_layers} layers in {shape.compute_dtype}, "
        f"{vocab:,} tokens; {len(source)} users in batches of {BATCH}, prompts of {np.median(lengths):.0f} tokens at "
        f"the median and {lengths.max()} at most; the peer is this project's beam search with {BEAMS} beams over "
        f"ids of {data.items.shape[1]} tokens; one call before the rounds: {each[0]:.3g} ms a user "
        f"({1000 / each[0]:.3g} users/s) and {each[1]:.3g} ms ({1000 / each[1]:.3g} users/s)"
    )
    return ours, peer, len(source), "users", note


def _prompts(data: World, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts i32[count,S] of users drawn at random, and their seen items, i32[count,X], padded with -1."""
    histories = data.split.history("test")
    users = np.random.default_rng(0).choice(np.flatnonzero(data.split.test >= 0), count, replace=False)
    prompts = Prompts.make(data.words, templates("collaborative")[:1], data.items, histories, data.users)
    rows = prompts.splice(np.zeros(count, np.int32), users, recent_events(histories, users, MAX_HISTORY))
    most = int(np.diff(histories.offsets)[users].max())
    return pad_rows(rows, int(np.diff(rows[1]).max())), seen_rows(histories, users, most)


def _query(model: Retriever, source: jax.Array) -> jax.Array:
    return model(source)[:, 0]


def _check(model: Retriever, items: np.ndarray, source: np.ndarray, seen: np.ndarray, top: TopK) -> None:
    """Asserts that the lists are the top K of all cosines; near-ties within the tolerance may come in either order."""
    query = jax.jit(_query)
    answers = np.concatenate([query(model, source[i : i + BATCH]) for i in range(0, len(source), BATCH)])
    cosines = answers.astype(np.float64) @ items.T / np.linalg.norm(answers, axis=1, keepdims=True)
    for row, user_seen in zip(cosines, seen):
        row[user_seen[user_seen >= 0]] = -np.inf
    np.testing.assert_allclose(top.scores, -np.sort(-cosines)[:, :K], atol=TOLERANCE)
    np.testing.assert_allclose(np.take_along_axis(cosines, top.items, 1), top.scores, atol=TOLERANCE)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Prints milliseconds per user of the 20 nearest of a million vectors by batch size; leaves search.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few items, to see that all is wired up")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"), help="folder of JSON")
    arguments = parser.parse_args()
    n_items, width, k = 20_000 if arguments.quick else 1_000_000, 64, 20
    items = jax.random.normal(jax.random.key(0), (n_items, width), jnp.float32)
    norms = jax.jit(norms_of)(items)
    find = jax.jit(functools.partial(nearest_items, k=k))
    measured = []
    for users in (256, 1024):
        z = np.random.default_rng(0).standard_normal((users, width), np.float32)

        def call(z=z) -> np.ndarray:  # includes the copy to host memory
            return np.asarray(find(z, items, norms=norms).items)

        call()
        rounds = [_seconds(call) for _ in range(3 if arguments.quick else 20)]
        each = 1000 * statistics.median(rounds) / users
        print(f"top {k} of {n_items:,} x {width}, {users} users a batch: {each:.4f} ms a user")
        measured.append({"users": users, "ms_per_user": each, "rounds": rounds})
    sizes = {"items": n_items, "width": width, "k": k, "quick": arguments.quick}
    harness.write(arguments.out, "search", {**sizes, "batches": measured, **harness.circumstances()})


if __name__ == "__main__":
    main()
