"""A model and a trie as a `Recommender`: batches of static shapes on the device, any number of users outside."""

from __future__ import annotations

import functools
from typing import Literal

import jax
import numpy as np

from jaxrec.recommend.beam import beam_search
from jaxrec.recommend.exact import exact
from jaxrec.recommend.steps import StepDecoder
from jaxrec.tokenizers.trie import Trie
from jaxrec.types import Array, TopK

MULTIPLE = 16  # prompts and lists of seen items are padded up to this, so that few shapes are compiled
IN_FLIGHT = 8  # batches queued before one is awaited: a long queue of collectives can deadlock a CPU mesh


class TrieRecommender:
    """Recommends the items whose ids the model finds most likely; a `jaxrec.types.Recommender`.

    `model` may be replaced by one of the same shape, for instance with newer parameters; nothing is compiled again.

    Args:
      model: a pytree, evaluated without dropout; an argument of the compiled function, not a constant in it.
      trie: the ids of the catalogue.
      mode: "beam" searches, "exact" scores the whole catalogue.
      beams: prefixes kept by the beam search; where more items are asked for, that many.
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

    def __call__(self, source: Array, seen: Array | None, k: int) -> TopK:
        """The best k items for each prompt.

        Args:
          source: prompts, i32[B,S], padded with 0 at the end.
          seen: items to leave out, i32[B,X], -1 = padding, or None.
          k: how many items.
        Returns:
          TopK of numpy arrays, best first; -1 with -inf where fewer than k items are left.
        Raises:
          ValueError: shapes don't fit each other, or `seen` holds no item of this catalogue.
        """
        source = np.asarray(source, np.int32)
        seen = self._checked(source, seen)
        users = len(source)
        if not users:
            return TopK(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
        lengths = (source.shape[1] - (source[:, ::-1] != 0).argmax(axis=1)) * (source != 0).any(axis=1)
        order = np.argsort(lengths, kind="stable")  # prompts of like length share a batch, so little is padding
        batch = min(self.batch_users, 1 << (users - 1).bit_length())
        found: list[TopK] = []
        for begin in range(0, users, batch):
            rows = order[begin : begin + batch]
            longest = max(int(lengths[rows[-1]]), 1)
            rows = np.pad(rows, (0, batch - len(rows)), mode="edge")
            found.append(
                _recommend(
                    self.model,
                    _padded(source[rows, :longest], 0),
                    self.trie,
                    None if seen is None else _padded(seen[rows], -1),
                    mode=self.mode,
                    beams=max(self.beams, k),
                    k=k,
                )
            )
            if len(found) > IN_FLIGHT:
                jax.block_until_ready(found[-IN_FLIGHT])
        back = np.argsort(order)
        items, scores = [top.items for top in found], [top.scores for top in found]
        return TopK(np.concatenate(items)[back], np.concatenate(scores)[back])

    def _checked(self, source: np.ndarray, seen: Array | None) -> np.ndarray | None:
        if source.ndim != 2:
            raise ValueError(f"source must be i32[B,S]; came shape {list(source.shape)}")
        if seen is None:
            return None
        seen = np.asarray(seen, np.int32)
        if seen.ndim != 2 or len(seen) != len(source):
            raise ValueError(f"seen must be i32[B,X] with B={len(source)}, as source; came shape {list(seen.shape)}")
        if seen.size and not -1 <= seen.min() <= seen.max() < self.trie.n_items:
            raise ValueError(
                f"seen holds {seen.min()}..{seen.max()}; items are 0..{self.trie.n_items - 1}, and -1 is padding"
            )
        return seen


@functools.partial(jax.jit, static_argnames=("mode", "beams", "k"))
def _recommend(
    model: StepDecoder, source: Array, trie: Trie, seen: Array | None, *, mode: str, beams: int, k: int
) -> TopK:
    if mode == "exact":
        return exact(model, source, trie, k=k, seen=seen)
    return beam_search(model, source, trie, beams=beams, k=k, seen=seen)


def _padded(rows: np.ndarray, value: int) -> np.ndarray:
    """Columns padded up to the next multiple of `MULTIPLE`, at least one of them."""
    width = max(-(-rows.shape[1] // MULTIPLE), 1) * MULTIPLE
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=value)
