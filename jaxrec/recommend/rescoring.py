"""Lists of a model with two answers: candidates of beam search and of the item head, scored by both."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.recommend.beam_search import beam_search, top_items
from jaxrec.recommend.decoding_steps import StepDecoder, log_probs_below, log_probs_of, start_decoding
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array, TopK


def rescored_top_k(
    model: StepDecoder,
    source: Array,
    trie: Trie,
    *,
    beams: int,
    k: int,
    seen: Array | None = None,
    allowed: Array | None = None,
) -> TopK:
    """The k best of the candidates by share * log p(item) + (1 - share) * log p(id).

    Candidates are the `beams` items that beam search finds and the `beams` best of the item head, which scores all
    items. The ids of all candidates are then scored in one step.

    Args:
      model: with an item head; evaluated without dropout.
      source: prompts, i32[B,S], 0 = padding.
      trie: the valid ids.
      beams: number of candidates of each answer.
      k: number of items to return, at most `beams`.
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      allowed: items that may be listed, unless they are seen, bool[B,I], or None for all.
    Returns:
      TopK, best first; if fewer than k items are left, the rest is item -1 with -inf.
    Raises:
      ValueError: k is not in 1..beams.
    """
    if not 1 <= k <= beams:
        raise ValueError(f"k={k} is not in 1..{beams}, the number of candidates of each answer; lower k or raise beams")
    assert model.items is not None
    share, n_items = model.items.share, trie.n_items
    trie = jax.tree.map(jnp.asarray, trie)
    started = start_decoding(model, source, trie)
    of_items = model.item_log_probs(started.first)
    open_items = of_items if allowed is None else jnp.where(allowed, of_items, -jnp.inf)
    if seen is not None:
        rows = jnp.arange(len(source))[:, None]
        open_items = open_items.at[rows, jnp.where(seen < 0, n_items, seen)].set(-jnp.inf, mode="drop")
    best, by_head = jax.lax.top_k(open_items, min(beams, n_items))
    if share == 1:  # no other answer counts
        return top_items(trie, trie.leaves[by_head[:, :k]], best[:, :k], k)
    by_head = jnp.where(best > -jnp.inf, by_head, -1)
    by_beam = beam_search(model, source, trie, beams=beams, k=beams, seen=seen, allowed=allowed).items
    items = jnp.sort(jnp.concatenate([by_head, by_beam], axis=1), axis=1)
    is_new = (items >= 0) & (items != jnp.pad(items[:, :-1], ((0, 0), (1, 0)), constant_values=-1))
    candidates = jnp.maximum(items, 0)
    leaves = trie.leaves[candidates]
    scores = share * jnp.take_along_axis(of_items, candidates, axis=1)
    scores += (1 - share) * _log_probs_of_ids(model, trie, leaves, started.memory)
    best, chosen = jax.lax.top_k(jnp.where(is_new, scores, -jnp.inf), min(k, n_items))
    return top_items(trie, jnp.take_along_axis(leaves, chosen, axis=1), best, k)


def _log_probs_of_ids(model: StepDecoder, trie: Trie, leaves: Array, memory: Any) -> Array:
    """Log-probabilities of the whole ids of some leaves, i32[B,W] -> f32[B,W], with the memory of their prompts."""
    ids, (batch, beams) = trie.rows[leaves], leaves.shape
    before = jnp.concatenate([jnp.full((batch, beams, 1), model.start, jnp.int32), ids[:, :, :-1]], axis=2)
    hidden, _ = model.step(before, 0, model.empty_cache(batch, beams, trie.depth), memory)
    if not model.says_rows:
        return log_probs_of(model, hidden, ids[..., None])[..., 0].sum(axis=-1)
    of_first = log_probs_of(model, hidden[:, :, :-1], ids[:, :, :-1, None])[..., 0].sum(axis=-1)
    parents = jnp.searchsorted(trie.starts[trie.depth - 1], leaves, side="right") - 1
    of_last = log_probs_below(model, trie, trie.depth - 1, parents, hidden[:, :, -1])
    places = leaves - trie.first_child[trie.depth - 1][parents]
    return of_first + jnp.take_along_axis(of_last, places[..., None], axis=-1)[..., 0]
