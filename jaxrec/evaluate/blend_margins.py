"""NDCG of many weights of a blend on the same users."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.evaluate.blending import METRIC
from jaxrec.evaluate.ranking import user_values
from jaxrec.types import Array

USERS = 32
"""Users whose items are weighted together."""
TRIES = 20
"""Weights that are tried together."""


class Margins:
    """By how much components put items above the targets of users; ranks of targets under given weights.

    Args:
      margins: differences of log-probabilities, f32[n,M,I] each; consumed.
      users: number of users, of whom those that are not in `margins` count 0.
    """

    def __init__(self, margins: list[np.ndarray], users: int) -> None:
        self.users, self.n_components = users, margins[0].shape[1]
        self._blocks: list[tuple[Array, int]] = []
        while margins:
            of_batch = margins.pop()
            for start in range(0, len(of_batch), USERS):
                block = of_batch[start : start + USERS]
                padded = np.pad(block, ((0, USERS - len(block)), (0, 0), (0, 0)))
                self._blocks.append((jnp.asarray(padded), len(block)))

    def ndcg(self, weights: np.ndarray) -> list[float]:
        """Mean NDCG@10 of the users with each row of weights f32[T,M]."""
        values: list[float] = []
        for start in range(0, len(weights), TRIES):
            some = weights[start : start + TRIES]
            padded = np.pad(some, ((0, TRIES - len(some)), (0, 0)))
            nobody = np.zeros((0, TRIES))
            ranks = np.concatenate([nobody, *(np.asarray(_ranks(block, padded))[:n] for block, n in self._blocks)])
            values += [math.fsum(user_values(of_try, METRIC)) / self.users for of_try in ranks.T[: len(some)]]
        return values


@jax.jit
def _ranks(margins: Array, weights: Array) -> jax.Array:
    """Ranks of targets f32[n,T], ties count half, by margins f32[n,M,I], of which the target's is 0, and f32[T,M].

    An item that no weighted component tells from the target has a sum of exactly 0, on any device.
    """

    def of_user(of_items: jax.Array) -> jax.Array:
        total = jnp.matmul(weights, of_items, precision="highest")
        return 1 + jnp.sum(total > 0, axis=1) + (jnp.sum(total == 0, axis=1) - 1) / 2

    return jax.lax.map(of_user, margins)
