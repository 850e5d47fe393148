"""Beam search over the ids of a trie: at every step a beam is extended by the children of its node only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.models.decoding import reorder
from jaxrec.recommend.decoding_steps import (
    StepDecoder,
    children,
    leaves_of,
    log_probs_below,
    open_leaves,
    start_decoding,
    tokens_of,
)
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array, TopK


class BeamStep(NamedTuple):
    """What one step of a beam search kept, best first.

    Attributes:
      nodes: of the step's depth in the trie, i32[B,W].
      scores: log-probabilities of their tokens so far, f32[B,W]; -inf where fewer were tried.
      tried: how many nodes with an item that may be listed were scored, i32[B].
    """

    nodes: Array
    scores: Array
    tried: Array


def beam_search(
    model: StepDecoder,
    source: Array,
    trie: Trie,
    *,
    beams: int,
    k: int,
    seen: Array | None = None,
    allowed: Array | None = None,
) -> TopK:
    """The k best items that a beam search of fixed depth finds.

    A score is the sum of the log-probabilities of the id's tokens, each normalised over the whole vocabulary *before*
    invalid tokens are left out, as in Hugging Face's `generate(prefix_allowed_tokens_fn=...)` with length_penalty=0.
    The encoder runs once, the common prefix of all ids is decoded with one beam, and the last token of an id is scored
    but not decoded further. A node without an item that may be listed is excluded, so no beam is spent on it, and k
    items are found wherever k may be listed.

    Args:
      model: evaluated without dropout.
      source: prompts, i32[B,S], 0 = padding.
      trie: the valid ids.
      beams: number of prefixes kept, W.
      k: number of items to return, at most `beams`.
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      allowed: items that may be listed, unless they are seen, bool[B,I], or None for all.
    Returns:
      TopK, best first, ties in the order of leaves; if fewer than k items are left, the rest is item -1 with -inf.
    Raises:
      ValueError: k is not in 1..beams.
    """
    return beam_search_steps(model, source, trie, beams=beams, k=k, seen=seen, allowed=allowed)[0]


def beam_search_steps(
    model: StepDecoder,
    source: Array,
    trie: Trie,
    *,
    beams: int,
    k: int,
    seen: Array | None = None,
    allowed: Array | None = None,
) -> tuple[TopK, list[BeamStep]]:
    """As `beam_search`, with what was kept at each depth between the common prefix of all ids and the items."""
    if not 1 <= k <= beams:
        raise ValueError(f"k={k} is not in 1..{beams}, the number of beams; lower k or raise beams")
    trie = jax.tree.map(jnp.asarray, trie)
    is_open = open_nodes(trie, seen, allowed)
    memory, cache, hidden_BWD, scores_BW, _ = start_decoding(model, source, trie)
    nodes_BW = jnp.zeros((len(source), 1), jnp.int32)

    def expand(depth: int) -> tuple[Array, Array]:
        """All children of all beams and their scores, [B,W*C], in the order of leaves like the beams."""
        below_BWC, is_open_BWC = children(trie, depth, nodes_BW)
        if is_open is not None:
            is_open_BWC &= is_open(depth + 1, below_BWC)
        log_probs_BWC = log_probs_below(model, trie, depth, nodes_BW, hidden_BWD)
        scores_BWC = jnp.where(is_open_BWC, scores_BW[:, :, None] + log_probs_BWC, -jnp.inf)
        return below_BWC.reshape(len(source), -1), scores_BWC.reshape(len(source), -1)

    steps = []
    for depth in range(trie.stem, trie.depth - 1):
        below_BR, scores_BR = expand(depth)
        best_BW, chosen_BW = jax.lax.top_k(scores_BR, min(beams, trie.size(depth + 1)))
        tried_B = (scores_BR > -jnp.inf).sum(axis=1)
        steps.append(BeamStep(jnp.take_along_axis(below_BR, chosen_BW, axis=1), best_BW, tried_B))
        chosen_BW = jnp.sort(chosen_BW, axis=1)  # by leaf, not by score, so that top_k breaks ties by leaf
        nodes_BW, scores_BW = (jnp.take_along_axis(x, chosen_BW, axis=1) for x in (below_BR, scores_BR))
        cache = reorder(cache, chosen_BW // trie.widths[depth])
        hidden, cache = model.step(tokens_of(trie, depth + 1, nodes_BW)[:, :, None], depth + 1, cache, memory)
        hidden_BWD = hidden[:, :, 0]
    leaves_BR, scores_BR = expand(trie.depth - 1)
    best_Bk, chosen_Bk = jax.lax.top_k(scores_BR, min(k, trie.n_items))
    return top_items(trie, jnp.take_along_axis(leaves_BR, chosen_Bk, axis=1), best_Bk, k), steps


def open_nodes(trie: Trie, seen: Array | None, allowed: Array | None) -> Callable[[int, Array], Array] | None:
    """A function that tells whether an item below a node may be listed; None where every item may.

    A node is an interval of leaves, and the open leaves in it are counted: from the sorted leaves of seen items or,
    with a mask, from its cumulative sums.

    Args:
      trie: the valid ids.
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      allowed: items that may be listed, bool[B,I], or None for all.
    Returns:
      is_open(depth, nodes i32[B,W,C]) -> bool[B,W,C].
    """
    if allowed is not None:
        leaves_BI = open_leaves(trie, seen, allowed)
        counts_BJ = jnp.pad(jnp.cumsum(leaves_BI, axis=1, dtype=jnp.int32), ((0, 0), (1, 0)))
        count_before = jax.vmap(jnp.take)
        return lambda depth, nodes: (
            count_before(counts_BJ, trie.starts[depth][nodes + 1]) > count_before(counts_BJ, trie.starts[depth][nodes])
        )
    if seen is None:
        return None
    seen_BX = leaves_of(trie, seen)
    count_seen = jax.vmap(functools.partial(jnp.searchsorted, method="scan_unrolled"))

    def has_unseen(depth: int, nodes: Array) -> Array:
        low, high = trie.starts[depth][nodes], trie.starts[depth][nodes + 1]
        return count_seen(seen_BX, high) - count_seen(seen_BX, low) < high - low

    return has_unseen


def top_items(trie: Trie, leaves: Array, scores: Array, k: int) -> TopK:
    """Leaves as items, -1 where the score is -inf, padded to k.

    Args:
      trie: the valid ids.
      leaves: i32[B,n], n <= k.
      scores: f32[B,n], best first.
      k: length of the list.
    """
    items = jnp.where(scores > -jnp.inf, trie.items[leaves], -1)
    fill = ((0, 0), (0, k - leaves.shape[1]))
    return TopK(jnp.pad(items, fill, constant_values=-1), jnp.pad(scores, fill, constant_values=-jnp.inf))
