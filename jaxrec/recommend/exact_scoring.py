"""The exact score of every item, and the error of a beam search against it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.models.decoding import reorder
from jaxrec.recommend.beam_search import top_items
from jaxrec.recommend.decoding_steps import (
    Started,
    StepDecoder,
    leaves_of,
    log_probs_below,
    open_leaves,
    start_decoding,
)
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array, TopK


def exact_top_k(
    model: StepDecoder,
    source: Array,
    trie: Trie,
    *,
    k: int,
    seen: Array | None = None,
    allowed: Array | None = None,
    block: int = 64,
) -> TopK:
    """The k best items of the whole catalogue, the limit of `beam_search` with many beams.

    Args:
      model: evaluated without dropout.
      source: prompts, i32[B,S], 0 = padding.
      trie: the valid ids.
      k: number of items to return.
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      allowed: items that may be listed, unless they are seen, bool[B,I], or None for all.
      block: see `score_all`.
    Returns:
      TopK, best first, ties in the order of leaves; if fewer than k items are left, the rest is item -1 with -inf.
    Raises:
      ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    trie = jax.tree.map(jnp.asarray, trie)
    scores = _score_leaves(model, source, trie, block)
    if allowed is not None:
        scores = jnp.where(open_leaves(trie, seen, allowed), scores, -jnp.inf)
    elif seen is not None:
        rows = jnp.arange(scores.shape[0])[:, None]
        scores = scores.at[rows, leaves_of(trie, seen)].set(-jnp.inf, mode="drop")
    best, leaves = jax.lax.top_k(scores, min(k, trie.n_items))
    return top_items(trie, leaves, best, k)


def score_all(model: StepDecoder, source: Array, trie: Trie, *, block: int = 64) -> Array:
    """The score of every item, f32[B,I] in the order of items.

    That is log p(id) or, with an item head, share * log p(item) + (1 - share) * log p(id), see `ItemHeadConfig`.

    The decoder processes every distinct proper prefix once: 1 + G positions per user if ids are <Item><CTi><CIj> with G
    clusters. Deeper prefixes are decoded again from the end of the stem, so that memory is bounded by `block`.

    Args:
      model: evaluated without dropout.
      source: prompts, i32[B,S], 0 = padding.
      trie: the valid ids.
      block: prefixes per batch; logits take B * block * V floats.
    """
    trie = jax.tree.map(jnp.asarray, trie)
    return _score_leaves(model, source, trie, block)[:, trie.leaves]


def _score_leaves(model: StepDecoder, source: Array, trie: Trie, block: int) -> Array:
    """As `score_all`, in the order of leaves."""
    started, head = start_decoding(model, source, trie), model.items
    if head is None:
        return _score_ids(model, started, trie, block)
    of_items = model.item_log_probs(started.first)[:, trie.items] if head.share > 0 else 0.0
    of_ids = _score_ids(model, started, trie, block) if head.share < 1 else 0.0
    return head.share * of_items + (1 - head.share) * of_ids


def _score_ids(model: StepDecoder, started: Started, trie: Trie, block: int) -> Array:
    """The log-probability of every id, f32[B,I], in the order of leaves."""
    scores = started.scores
    for depth in range(trie.stem, trie.depth):
        first = trie.starts[depth + 1][:-1]
        parents = jnp.searchsorted(trie.starts[depth], first, side="right") - 1
        places = jnp.arange(trie.size(depth + 1)) - trie.first_child[depth][parents]
        scores = scores[:, parents] + _score_children(model, trie, depth, started, block)[:, parents, places]
    return scores


def _score_children(model: StepDecoder, trie: Trie, depth: int, started: Started, block: int) -> Array:
    """Log-probabilities of children given their parent, f32[B,n,C], n >= N_depth; arbitrary for missing children."""
    batch = started.scores.shape[0]
    if depth == trie.stem:
        return log_probs_below(model, trie, depth, jnp.zeros((1, 1), jnp.int32), started.hidden)
    block = min(block, trie.size(depth))
    n_blocks = -(-trie.size(depth) // block)
    nodes = jnp.minimum(jnp.arange(n_blocks * block, dtype=jnp.int32), trie.size(depth) - 1).reshape(n_blocks, block)

    def score_block(nodes_W: Array) -> Array:
        paths_WQ = trie.rows[trie.starts[depth][nodes_W], trie.stem : depth]
        cache = reorder(started.cache, jnp.zeros((batch, block), jnp.int32))
        tokens_BWQ = jnp.broadcast_to(paths_WQ, (batch, *paths_WQ.shape))
        hidden, _ = model.step(tokens_BWQ, trie.stem + 1, cache, started.memory)
        return log_probs_below(model, trie, depth, nodes_W[None], hidden[:, :, -1])

    scores = jax.lax.map(score_block, nodes)
    return jnp.moveaxis(scores, 0, 1).reshape(batch, n_blocks * block, -1)


class BeamGap(NamedTuple):
    """The error of a beam search against exact scoring.

    Attributes:
      recall: share of the exact list that is in the beam's list, f32[B], 1 = nothing missed.
      shortfall: exact minus beam score, mean over the ranks that both lists fill, f32[B] in nats, 0 = nothing missed.
    """

    recall: np.ndarray
    shortfall: np.ndarray


def beam_gap(beam: TopK, exact: TopK) -> BeamGap:
    """Compares beam search's lists with the exact ones, for the same prompts, k and seen items."""
    beam_items, exact_items = np.asarray(beam.items), np.asarray(exact.items)
    if beam_items.shape != exact_items.shape:
        raise ValueError(f"the lists have shapes {beam_items.shape} and {exact_items.shape}; use the same k for both")
    is_item = exact_items >= 0
    hits = (beam_items[:, None, :] == exact_items[:, :, None]).any(-1) & is_item
    both = is_item & (beam_items >= 0)
    difference = np.zeros(both.shape, np.float32)
    np.subtract(np.asarray(exact.scores), np.asarray(beam.scores), where=both, out=difference)
    return BeamGap(
        (hits.sum(1) / np.maximum(is_item.sum(1), 1)).astype(np.float32),
        (difference.sum(1) / np.maximum(both.sum(1), 1)).astype(np.float32),
    )
