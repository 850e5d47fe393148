"""Ranking items by the inner product of a user's vector with each item's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.types import Array, Histories, Vectors


def inner_product_scorer(vectors: Vectors) -> Scorer:
    """Inner products of users with all items, for `jaxrec.evaluate.full_ranking.evaluate_scores`."""
    user, item = jnp.asarray(vectors.user), jnp.asarray(vectors.item)

    def score(histories: Histories, users: np.ndarray) -> Array:
        if (histories.n_users, histories.n_items) != (len(user), len(item)):
            raise ValueError(
                f"histories are of {histories.n_users} users and {histories.n_items} items, the vectors of {len(user)} "
                f"and {len(item)}; refresh the vectors with these histories"
            )
        return _scores(user, item, users)

    return score


@jax.jit
def _scores(user: Array, item: Array, users: Array) -> jax.Array:
    return user[users] @ item.T
