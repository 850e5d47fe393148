"""Ranking items by the inner product of a user's vector with each item's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.embedders.fold_in import of_each_user, scale_to_mean_length
from jaxrec.tasks.ragged import histories_of
from jaxrec.types import Array, Histories, Vectors


class InnerProductScorer:
    """Inner products of users with all items, for `jaxrec.evaluate.full_ranking.evaluate_scores`.

    Args:
      vectors: user f32[U,F], item f32[I,F].
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._user, self._item = jnp.asarray(vectors.user), jnp.asarray(vectors.item)

    def __call__(self, histories: Histories, users: np.ndarray) -> Array:
        """Scores f32[B,I] of some of the users that have vectors, i32[B]; their histories are not read.

        Raises:
          ValueError: the histories are not of as many users and items as there are vectors.
        """
        if (histories.n_users, histories.n_items) != (len(self._user), len(self._item)):
            raise ValueError(
                f"histories are of {histories.n_users} users and {histories.n_items} items, the vectors of "
                f"{len(self._user)} and {len(self._item)}; refresh the vectors with these histories"
            )
        return _scores(self._user, self._item, users)

    def of_strangers(self, histories: Histories, users: np.ndarray) -> Array:
        """Scores f32[B,I] of rows of other histories, i32[B]: a fold-in.

        A vector is the mean of the history's unit vectors, scaled to the mean length of the users' vectors.
        """
        mean = of_each_user(histories_of(histories, users), self._vectors.item)
        user = scale_to_mean_length(mean, self._vectors.user)
        return _scores(jnp.asarray(user), self._item, np.arange(len(user)))


@jax.jit
def _scores(user: Array, item: Array, users: Array) -> jax.Array:
    return user[users] @ item.T
