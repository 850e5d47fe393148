"""Common parts of next-item models that read a user and a window of the newest items."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import NextItem, last_vectors, positions_in_segment
from jaxrec.types import Array


class UserWindow(NextItem):
    """A next-item model whose sequences begin with the user's token, I + 1 + user.

    Attributes:
      item_embedding: of the items that are read, f32[I, D].
      user_embedding: f32[U, D].
    """

    item_embedding: nnx.Param
    user_embedding: nnx.Param

    def embeddings(self, tokens: Array, segments: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The embeddings of packed sequences, which begin with their user's token.

        Args:
          tokens: as of `NextItem`, i32[B, S].
          segments: likewise.
        Returns:
          At each position: the sequence's user f32[B, S, D], the item f32[B, S, D] (any vector at the user's token and
          on padding), and the place in the sequence, i32[B, S], 0 at the user's token.
        """
        tokens, place = jnp.asarray(tokens), positions_in_segment(segments)
        n_items, n_users = self.item_embedding.shape[0], self.user_embedding.shape[0]
        first = jnp.arange(tokens.shape[1])[None] - place
        user = jnp.take_along_axis(tokens, first, axis=1) - n_items - 1
        of_user = self.user_embedding[...][jnp.clip(user, 0, n_users - 1)]
        return of_user, self.item_embedding[...][jnp.clip(tokens - 1, 0, n_items - 1)], place

    def answers(self, tokens: Array, users: Array) -> jax.Array:
        """The vector at the end of each history."""
        of_user = self.item_embedding.shape[0] + 1 + jnp.asarray(users)[:, None]
        return last_vectors(self, jnp.concatenate([of_user, jnp.asarray(tokens)], axis=1))


def newest(x: jax.Array, place: jax.Array, window: int) -> jax.Array:
    """The window of the newest items at each position of sequences that begin with their user.

    Args:
      x: a vector for each position, f32[B, S, D].
      place: place in the sequence, i32[B, S]; 0 is the user's.
      window: L.
    Returns:
      f32[B, S, L, D], oldest first, zeros where the sequence has no item so far back.
    """
    columns = []
    for back in reversed(range(window)):
        moved = jnp.pad(x, ((0, 0), (back, 0), (0, 0)))[:, : x.shape[1]]
        columns.append(jnp.where((place > back)[..., None], moved, 0))
    return jnp.stack(columns, axis=2)
