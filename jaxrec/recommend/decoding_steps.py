"""Common parts of beam search and exact scoring: start of decoding, children of a node, filters of leaves."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp

from jaxrec.models.item_head import ItemHead
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array


class StepDecoder(Protocol):
    """A language model that decodes step by step: `jaxrec.models.t5.T5`, `jaxrec.models.llama.Llama`."""

    start: int
    """The decoder's start token."""
    items: ItemHead | None
    """A head over items, which answers beside the id; or None."""

    def read(self, source: Array) -> Any:
        """The memory of prompts i32[B,S], 0 = padding, that `step` attends to; one per user, shared by all beams."""
        ...

    def empty_cache(self, batch: int, beams: int, length: int) -> Any:
        """An empty cache for `length` decoder positions of every beam, in the layout of `decoding.reorder`."""
        ...

    def step(self, tokens: Array, position: int | Array, cache: Any, memory: Any) -> tuple[Array, Any]:
        """Tokens i32[B,W,Q] at positions position..position+Q-1 -> hidden [B,W,Q,D] and the filled cache.

        A loop on the device passes its position as i32[]; then the whole cache is read with a mask.
        """
        ...

    def logits(self, hidden: Array) -> Array:
        """Hidden [...,D] -> f32[...,V]."""
        ...

    @property
    def says_rows(self) -> bool:
        """Whether the last code's odds are `code_log_probs`."""
        ...

    def code_log_probs(self, hidden: Array, items: Array, exists: Array) -> Array:
        """Log-probabilities of the last codes of sibling items i32[...,C], hidden [...,D] -> f32[...,C]."""
        ...

    def item_log_probs(self, hidden: Array) -> Array:
        """Log p(item) by the item head, hidden [...,D] -> f32[...,I]."""
        ...


class Started(NamedTuple):
    """The state of decoding after the common prefix (stem) of all ids.

    Attributes:
      memory: the model's memory of the source.
      cache: of one beam, filled at positions 0..stem.
      hidden: the hidden state that predicts the first token after the stem, [B,1,D].
      scores: log-probability of the stem, f32[B,1].
      first: the hidden state after the start token, [B,D].
    """

    memory: Any
    cache: Any
    hidden: Array
    scores: Array
    first: Array


def start_decoding(model: StepDecoder, source: Array, trie: Trie) -> Started:
    """Encodes the prompt, then decodes the start token and the trie's stem with one beam.

    Args:
      model: evaluated without dropout.
      source: prompts, i32[B,S], 0 = padding.
      trie: the valid ids.
    """
    chex.assert_rank(source, 2)
    batch, stem = source.shape[0], trie.stem
    memory = model.read(source)
    tokens = jnp.concatenate([jnp.full(1, model.start, jnp.int32), trie.rows[0, :stem]])
    inputs = jnp.broadcast_to(tokens, (batch, 1, stem + 1))
    hidden, cache = model.step(inputs, 0, model.empty_cache(batch, 1, trie.depth), memory)
    scores = jnp.zeros((batch, 1), jnp.float32)
    if stem:
        log_probs = jax.nn.log_softmax(model.logits(hidden[:, :, :-1]))
        scores = jnp.take_along_axis(log_probs, inputs[:, :, 1:, None], axis=-1).sum((-2, -1))
    return Started(memory, cache, hidden[:, :, -1], scores, hidden[:, 0, 0])


def children(trie: Trie, depth: int, nodes: Array) -> tuple[Array, Array]:
    """The children of nodes of one depth, padded to C = trie.widths[depth] each.

    Args:
      trie: the valid ids.
      depth: of the nodes.
      nodes: i32[...].
    Returns:
      Nodes of the next depth in lexicographic order, i32[...,C], and a mask of those that exist, bool[...,C].
    """
    places = jnp.arange(trie.widths[depth], dtype=jnp.int32).reshape((1,) * nodes.ndim + (-1,))
    below = trie.first_child[depth][nodes][..., None] + places
    is_child = below < trie.first_child[depth][nodes + 1][..., None]
    return jnp.minimum(below, trie.size(depth + 1) - 1), is_child


def tokens_of(trie: Trie, depth: int, nodes: Array) -> Array:
    """The last token of each node of depth >= 1, i32 like `nodes`."""
    return trie.rows[trie.starts[depth][nodes], depth - 1]


def log_probs_below(model: StepDecoder, trie: Trie, depth: int, nodes: Array, hidden: Array) -> Array:
    """Log-probabilities of the last tokens of the children of some nodes, arbitrary for children that don't exist.

    They are normalised over the whole vocabulary or, with items' rows in last codes, over the leaves of a node.

    Args:
      model: the model with the output layer.
      trie: the valid ids.
      depth: of the nodes.
      nodes: i32[...].
      hidden: hidden states that predict the next token, [...,D].
    Returns:
      f32[...,C], C = trie.widths[depth]; axes of length 1 are broadcast.
    """
    below, exists = children(trie, depth, nodes)
    if depth == trie.depth - 1 and model.says_rows:
        return model.code_log_probs(hidden, trie.items[below], exists)
    return log_probs_of(model, hidden, tokens_of(trie, depth + 1, below))


def log_probs_of(model: StepDecoder, hidden: Array, tokens: Array) -> Array:
    """Log-probabilities of some tokens, normalised over the whole vocabulary.

    Args:
      model: the model with the output layer.
      hidden: hidden states that predict the tokens, [...,D].
      tokens: i32[...,C].
    Returns:
      f32[...,C].
    """
    logits = model.logits(hidden)
    normaliser = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return jnp.take_along_axis(logits, tokens, axis=-1) - normaliser


def leaves_of(trie: Trie, seen: Array) -> Array:
    """The distinct leaves of seen items in ascending order.

    Args:
      trie: the valid ids.
      seen: i32[B,X], -1 = padding; repeats are allowed.
    Returns:
      i32[B,X], padded at the end with I, which is no leaf.
    """
    chex.assert_rank(seen, 2)
    leaves = jnp.sort(jnp.where(seen >= 0, trie.leaves[seen], trie.n_items), axis=-1)
    is_repeat = jnp.pad(leaves[:, 1:] == leaves[:, :-1], ((0, 0), (1, 0)))
    return jnp.sort(jnp.where(is_repeat, trie.n_items, leaves), axis=-1)


def open_leaves(trie: Trie, seen: Array | None, allowed: Array) -> Array:
    """The leaves whose items may be listed: allowed and not seen.

    Args:
      trie: the valid ids.
      seen: i32[B,X], -1 = padding, or None.
      allowed: by item, bool[B,I].
    Returns:
      By leaf, bool[B,I].
    """
    chex.assert_shape(allowed, (None, trie.n_items))
    leaves = allowed[:, trie.items]
    if seen is None:
        return leaves
    return leaves.at[jnp.arange(len(leaves))[:, None], leaves_of(trie, seen)].set(False, mode="drop")
