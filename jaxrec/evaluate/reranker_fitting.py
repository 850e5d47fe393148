"""Fits re-rankers to validation items; test items are not read.

The loss is the cross-entropy of a softmax over a user's candidates (ListNet's top-one loss, Cao et al. 2007).
Cross-validation over the users chooses the number of hidden units, and whether items are re-ranked at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.reranking import CANDIDATES, FOLDS, METRIC, Candidates, Clues, Params, Reranker, network, rounded
from jaxrec.keys import generator
from jaxrec.types import Array, Histories

HIDDEN = (8, 32)
"""Numbers of hidden units that are tried."""
FITS = len(HIDDEN) * FOLDS + 1
EPOCHS, LEAST_STEPS, BATCH = 20, 200, 256
PART = 64
"""Users of a batch whose gradients are computed together; what they need fits a CPU's cache, which halves the time."""
LEARNING_RATE = 1e-2
MOST_VALUES = 2**27
"""Features kept in memory for fitting, 512 MB; of many users, fewer are drawn."""


class Fitting:
    """Collects candidates of validation users, batch by batch, and fits a re-ranker to them.

    Args:
      weights: of the blend's components; the network starts as the blend.
      clues: counts.
      mask_seen: whether items of the history do not compete.
    """

    def __init__(self, weights: Sequence[float], clues: Clues, *, mask_seen: bool) -> None:
        self.weights, self.clues, self.mask_seen = np.asarray(weights, np.float32), clues, mask_seen
        self._features: list[np.ndarray] = []
        self._is_open: list[np.ndarray] = []
        self._target: list[np.ndarray] = []
        self._values = 0

    @property
    def full(self) -> bool:
        """Whether no more users are kept."""
        return self._values >= MOST_VALUES

    def add(
        self,
        mixed: np.ndarray,
        log_probs: Sequence[np.ndarray],
        histories: Histories,
        users: np.ndarray,
        target: np.ndarray,
    ) -> None:
        """Keeps the candidates of those users whose target is among the first; see `Candidates.of`.

        Args:
          mixed: the blend's scores, f32[B,I].
          log_probs: of its components, f32[B,I] each.
          histories: of all users, which the clues were counted from.
          users: the rows' users, i32[B].
          target: i32[B].
        """
        seen = self.mask_seen
        found = Candidates.of(mixed, log_probs, self.clues, histories, users, mask_seen=seen, counted=True)
        is_target = (found.items == target[:, None]) & found.is_candidate
        is_open = found.is_open | is_target
        size = min(CANDIDATES, found.items.shape[1])
        first = np.argsort(~is_open, axis=1, kind="stable")[:, :size]  # those that compete, in the blend's order
        place = np.take_along_axis(is_target, first, axis=1)
        kept = place.any(axis=1)
        features = np.take_along_axis(found.features[kept], first[kept][:, :, None], axis=1)
        self._features.append(features)
        self._is_open.append(np.take_along_axis(is_open[kept], first[kept], axis=1))
        self._target.append(place[kept].argmax(axis=1).astype(np.int32))
        self._values += features.size

    def fit(self, seed: int, on_fit: Callable[[int], None] = lambda done: None) -> Reranker | None:
        """The re-ranker; None if cross-validation finds none that is better than the blend's own order.

        Better is a mean NDCG@10 that is higher by more than the standard error of the users' differences, the rule of
        one standard error (Breiman et al. 1984).

        Args:
          seed: of initial weights, folds and batches.
          on_fit: called after each of `FITS` fits with their number so far.
        """
        target = np.concatenate(self._target)
        if len(target) < FOLDS:
            return None
        features, is_open = np.concatenate(self._features), np.concatenate(self._is_open)
        self._features.clear()
        mean = features.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        scale = np.maximum(features.std(axis=(0, 1), dtype=np.float64), 1e-6).astype(np.float32)
        before = user_values(_ranks_among(_mixed(features, self.weights), is_open, target), METRIC)
        features -= mean
        features /= scale
        data = jnp.asarray(features), jnp.asarray(is_open), jnp.asarray(target)
        fold = generator(seed, "folds of the re-ranker").permutation(len(target)) % FOLDS
        start = np.zeros_like(scale)
        start[: len(self.weights)] = self.weights * scale[: len(self.weights)]
        by_hidden: dict[int, np.ndarray] = {}
        done = itertools.count(1)
        for hidden in HIDDEN:
            ranks = np.zeros(len(target))
            for held_out in range(FOLDS):
                params = _fitted(data, np.flatnonzero(fold != held_out), start, hidden, seed)
                rows = np.flatnonzero(fold == held_out)
                ranks[rows] = _ranks(params, data, rows)
                on_fit(next(done))
            by_hidden[hidden] = user_values(ranks, METRIC)
        best = max(by_hidden, key=lambda hidden: by_hidden[hidden].mean())
        gain = by_hidden[best] - before
        if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
            return None
        params = jax.device_get(_fitted(data, np.arange(len(target)), start, best, seed))
        on_fit(next(done))
        figures = float(by_hidden[best].mean()), float(before.mean()), len(target)
        return Reranker(params, mean, scale, self.mask_seen, *figures, self.clues)


def _fitted(data: tuple[Array, Array, Array], rows: np.ndarray, start: np.ndarray, hidden: int, seed: int) -> Params:
    """Parameters fitted to some users of (features f32[n,K,F], is_open bool[n,K], target i32[n]), first a = start."""
    rng = generator(seed, "batches of the re-ranker")
    batch = min(BATCH, len(rows))
    steps = max(LEAST_STEPS, EPOCHS * len(rows) // batch)
    drawn = np.concatenate([rng.permutation(rows) for _ in range(-(-steps * batch // len(rows)))])
    order = drawn[: steps * batch].reshape(steps, batch)
    width = len(start)
    first = {
        "linear": jnp.asarray(start),
        "hidden": jnp.asarray(rng.normal(size=(width, hidden)) / np.sqrt(width), jnp.float32),
        "bias": jnp.zeros(hidden),
        "output": jnp.zeros(hidden),
    }
    return _train(first, data, jnp.asarray(order, jnp.int32), 1.0 / len(rows))


@jax.jit
def _train(params: Params, data: tuple[Array, Array, Array], order: Array, decay: float) -> Params:
    """Adam over batches of users i32[steps,batch]; `decay` weighs the squares of the hidden layer's weights."""
    features, is_open, target = data
    optimizer = optax.adam(optax.linear_schedule(LEARNING_RATE, 0.0, order.shape[0]))

    def loss(params: Params, rows: Array) -> jax.Array:
        scores = jnp.where(is_open[rows], network(params, features[rows]), -jnp.inf)
        nll = optax.softmax_cross_entropy_with_integer_labels(scores, target[rows]).mean()
        return nll + decay * (jnp.sum(params["hidden"] ** 2) + jnp.sum(params["output"] ** 2))

    def step(state: Any, rows: Array) -> tuple[Any, None]:
        params, moments = state
        together = PART if len(rows) % PART == 0 else len(rows)
        parts = rows.reshape(-1, together)

        def add(total: Params, part: Array) -> tuple[Params, None]:
            return jax.tree.map(jnp.add, total, jax.grad(loss)(params, part)), None

        total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), parts)
        gradient = jax.tree.map(lambda leaf: leaf / len(parts), total)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), order)
    return params


def _ranks(params: Params, data: tuple[Array, Array, Array], rows: np.ndarray) -> np.ndarray:
    """Ranks of the targets of some users by the network, f64[m]; ties count half."""
    features, is_open, target = data
    scores = [
        rounded(np.asarray(network(params, features[part]))) for part in np.array_split(rows, -(-len(rows) // 1024))
    ]
    return _ranks_among(np.concatenate(scores), np.asarray(is_open[rows]), np.asarray(target[rows]))


def _mixed(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The blend's scores f32[n,K] of candidates, from features that are not standardised."""
    return (features[..., : len(weights)] * weights).sum(axis=-1)


def _ranks_among(scores: np.ndarray, is_open: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Ranks of the targets f64[n] by scores f32[n,K]; ties count half."""
    scores = np.where(is_open, scores, -np.inf)
    of_target = np.take_along_axis(scores, target[:, None], axis=1)
    return 1 + (scores > of_target).sum(axis=1) + ((scores == of_target).sum(axis=1) - 1) / 2
