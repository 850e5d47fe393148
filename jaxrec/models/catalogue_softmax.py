"""Softmax cross-entropy of a target among other items: a sample, or the whole catalogue in blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrec.models.lightgcn import Events
from jaxrec.types import Array

MOST_SCORES = 2**26
"""Scores in memory at a time, a quarter of a gigabyte of float32; more items are scored in blocks."""
LEFT_OUT = -1e30
"""Logit of an item that does not count, in a block; minus infinity has no gradient where nothing of a block counts."""


def softmax_losses(positive: Array, others: Array, counts: Array, temperature: float) -> jax.Array:
    """Cross-entropy of the target among itself and other items under softmax(score / temperature), f32[B].

    Args:
      positive: score of the target, f32[B].
      others: scores of candidates, f32[B,N].
      counts: which candidates take part, bool[B,N]; the target itself must not.
      temperature: of the softmax, above 0.
    """
    logits = jnp.concatenate([positive[:, None], jnp.where(counts, others, -jnp.inf)], axis=1) / temperature
    return jax.nn.logsumexp(logits, axis=1) - logits[:, 0]


def catalogue_losses(
    z: Array,
    positive: Array,
    items: Array,
    present: Array,
    excluded: Array,
    temperature: float,
    *,
    most_scores: int = MOST_SCORES,
) -> jax.Array:
    """`softmax_losses` over all items, whose scores are inner products; memory does not grow with the catalogue.

    Where the scores of all items are more than `most_scores`, they are computed block by block and once more in the
    backward pass, with a running logsumexp between blocks (as in Milakov and Gimelshein 2018).

    Args:
      z: vectors that items are compared with, f32[B,F].
      positive: score of the target, f32[B].
      items: item vectors, f32[I,F].
      present: which items take part, bool[I].
      excluded: items that are no negatives of a row, the target among them, i32[B,X], padded with -1.
      temperature: of the softmax, above 0.
      most_scores: largest number of scores in memory.
    Returns:
      f32[B].
    """
    n_items, block = items.shape[0], max(1, most_scores // z.shape[0])
    if block >= n_items:
        counts = present[None] & ~_stand_in(excluded, 0, n_items)
        return softmax_losses(positive, z @ items.T, counts, temperature)
    short = -n_items % block
    blocks = jnp.pad(items, ((0, short), (0, 0))).reshape(-1, block, items.shape[1])
    present_blocks = jnp.pad(present, (0, short)).reshape(-1, block)

    @jax.checkpoint
    def add(log_sum: jax.Array, rows: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        first, vectors, here = rows
        counts = here[None] & ~_stand_in(excluded, first, block)
        logits = jnp.where(counts, z @ vectors.T / temperature, LEFT_OUT)
        return jnp.logaddexp(log_sum, jax.nn.logsumexp(logits, axis=1)), None

    logit = positive / temperature
    log_sum, _ = jax.lax.scan(add, logit, (block * jnp.arange(len(blocks)), blocks, present_blocks))
    return log_sum - logit


def _stand_in(rows: Array, first: Array | int, size: int) -> jax.Array:
    """Which of the items first .. first + size - 1 stand in each row i32[B,X] (-1 = padding), bool[B,size]."""
    columns = jnp.where(rows >= first, rows - first, size)
    marked = jnp.zeros((rows.shape[0], size), bool)
    return marked.at[jnp.arange(rows.shape[0])[:, None], columns].set(True, mode="drop")


def histories_of(train_events: Events, users: Array, most: int) -> jax.Array:
    """The items of each user's events, i32[B,most], padded with -1; `most` is the largest number of events."""
    positions = train_events.first[users][:, None] + jnp.arange(most)[None]
    rows = train_events.pairs[jnp.minimum(positions, train_events.pairs.shape[0] - 1), 1]
    return jnp.where(jnp.arange(most)[None] < train_events.degree[users][:, None], rows, -1)


def contained(candidates: Array, rows: Array, n_items: int) -> jax.Array:
    """Which candidates i32[N] stand in each row i32[B,X] (-1 = padding), bool[B,N].

    Candidates may repeat. Memory is B * N, however many items there are.
    """
    size = candidates.shape[0]
    # The number of a candidate stands for its item; of a repeated one any number does, as it is only written once.
    number = jnp.full(n_items, size).at[candidates].set(jnp.arange(size))
    columns = jnp.where(rows >= 0, number[jnp.maximum(rows, 0)], size)
    # Candidates first: whole rows are read for repeated ones, which on CPU is many times faster than columns.
    marked = jnp.zeros((size, rows.shape[0]), bool)
    marked = marked.at[columns, jnp.arange(rows.shape[0])[:, None]].set(True, mode="drop")
    return marked[number[candidates]].T
