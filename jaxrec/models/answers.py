"""Where the items of packed rows of tokens are."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp


class ItemPlaces(NamedTuple):
    """The items of rows of tokens.

    Attributes:
      places: positions at which their ids end, i32[B,N].
      codes: of their ids, as tokens, i32[B,N,L].
      is_item: bool[B,N], False where a row has fewer than N items.
    """

    places: jax.Array
    codes: jax.Array
    is_item: jax.Array


@dataclasses.dataclass(frozen=True)
class Answers:
    """The items among the answers of a batch: first those at which each row begins, then each row's second ones, ...

    Attributes:
      places: position of the prefix before each id, i32[B,N].
      codes: of the ids, as tokens, i32[N*B,L].
      items: i32[N*B], -1 = none.
      weights: of the items, f32[N*B], 0 where there is none.
      before: other items of the example before each answer, i32[N*B,M], -1 = none; None without
        `ItemHeadConfig.mask_seen`.
    """

    places: jax.Array
    codes: jax.Array
    items: jax.Array
    weights: jax.Array
    before: jax.Array | None

    def hidden(self, hidden: jax.Array, code: int) -> jax.Array:
        """The states that predict the id's code of this number, f32[B,T,D] -> f32[N*B,D]."""
        at = jnp.minimum(self.places + code, hidden.shape[1] - 1)
        return jnp.swapaxes(jnp.take_along_axis(hidden, at[..., None], axis=1), 0, 1).reshape(-1, hidden.shape[-1])


def items_before(read: jax.Array, read_segments: jax.Array, items: jax.Array, segments: jax.Array) -> jax.Array:
    """Items that come before each answer in its example: those of the prompt and those of earlier answers.

    Args:
      read: items of the prompts, i32[B,R], -1 = none.
      read_segments: the examples that they are in, i32[B,R].
      items: of the answers, in their order, i32[B,N], -1 = none.
      segments: the examples that they are in, i32[B,N].
    Returns:
      i32[N*B,R+N] in the order of `Answers`; -1 = none, or the answer itself.
    """
    both = jnp.concatenate([read, items], axis=1)[:, None]
    of_both = jnp.concatenate([read_segments, segments], axis=1)[:, None]
    numbers = jnp.arange(items.shape[1])
    comes_before = jnp.concatenate([jnp.full(read.shape[1], -1), numbers])[None] < numbers[:, None]
    counts = comes_before[None] & (of_both == segments[..., None]) & (both != items[..., None])
    return jnp.swapaxes(jnp.where(counts, both, -1), 0, 1).reshape(-1, both.shape[2])
