"""A `Recommender` from a language model and a trie of ids, for any number of users in batches of static shapes."""

from __future__ import annotations

import copy
import functools
from typing import Literal

import jax

from jaxrec.recommend.batches import check_allowed, check_prompts, run_in_batches
from jaxrec.recommend.beam_search import BeamStep, beam_search, beam_search_steps
from jaxrec.recommend.decoding_steps import StepDecoder
from jaxrec.recommend.exact_scoring import exact_top_k
from jaxrec.recommend.rescoring import rescored_top_k
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array, TopK


class TrieRecommender:
    """Recommends the items whose ids the model finds most likely; a `jaxrec.types.Recommender`.

    `model` may be replaced by one of the same shape, for instance with newer parameters, without recompilation.

    Args:
      model: a pytree, evaluated without dropout; an argument of the compiled function, not a constant in it.
      trie: the ids of the catalogue.
      mode: "beam" for beam search (with an item head, `rescored_top_k`), "exact" to score the whole catalogue.
      beams: prefixes kept by the beam search, at least k.
      batch_users: users on the device at a time.
    """

    def __init__(
        self,
        model: StepDecoder,
        trie: Trie,
        *,
        mode: Literal["beam", "exact"] = "beam",
        beams: int = 20,
        batch_users: int = 64,
    ) -> None:
        if mode not in ("beam", "exact"):
            raise ValueError(f"mode={mode!r} is neither 'beam' nor 'exact'")
        self.model = model
        self.trie: Trie = jax.tree.map(jax.numpy.asarray, trie)
        self.mode = mode
        self.beams = beams
        self.batch_users = batch_users

    def __call__(self, source: Array, seen: Array | None, k: int, allowed: Array | None = None) -> TopK:
        """The best k items for each prompt.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
          seen: items to leave out, i32[B,X], -1 = padding, or None.
          k: number of items.
          allowed: items that may be listed, unless they are seen, bool[B,I], or None for all.
        Returns:
          TopK of numpy arrays, best first; -1 with -inf if fewer than k items are left.
        Raises:
          ValueError: shapes don't fit each other, or `seen` holds a number that is no item.
        """
        source, seen = check_prompts(source, seen, self.trie.n_items)
        allowed = check_allowed(allowed, len(source), self.trie.n_items)
        return run_in_batches(functools.partial(self.run, k=k), source, seen, allowed, k, users=self.batch_users)

    def with_model(self, model: StepDecoder) -> TrieRecommender:
        """A copy with another model."""
        recommender = copy.copy(self)
        recommender.model = model
        return recommender

    def run(self, source: Array, seen: Array | None, allowed: Array | None, *, k: int) -> TopK:
        """As a call, in one batch of exactly these shapes and without a check, on the device."""
        beams = max(self.beams, k)
        return _recommend(self.model, source, self.trie, seen, allowed, mode=self.mode, beams=beams, k=k)

    def steps(self, source: Array, allowed: Array) -> tuple[TopK, list[BeamStep]]:
        """A beam search in any mode, and what it kept at each step, on the device.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
          allowed: items that may be listed, bool[B,I].
        Returns:
          As `beam_search_steps`; the lists are as long as there are beams.
        """
        return _steps(self.model, source, self.trie, allowed, beams=self.beams)


@functools.partial(jax.jit, static_argnames=("mode", "beams", "k"))
def _recommend(
    model: StepDecoder,
    source: Array,
    trie: Trie,
    seen: Array | None,
    allowed: Array | None,
    *,
    mode: str,
    beams: int,
    k: int,
) -> TopK:
    if mode == "exact":
        return exact_top_k(model, source, trie, k=k, seen=seen, allowed=allowed)
    if model.items is not None:
        return rescored_top_k(model, source, trie, beams=beams, k=k, seen=seen, allowed=allowed)
    return beam_search(model, source, trie, beams=beams, k=k, seen=seen, allowed=allowed)


@functools.partial(jax.jit, static_argnames="beams")
def _steps(model: StepDecoder, source: Array, trie: Trie, allowed: Array, *, beams: int) -> tuple[TopK, list[BeamStep]]:
    return beam_search_steps(model, source, trie, beams=beams, k=min(beams, trie.n_items), allowed=allowed)
