"""Re-ranking: a small network puts the first items of a blend in order, by what components and counts say of them.

Stacking (Wolpert 1992). An item's features x are the components' log-probabilities, log(1 + count) of each clue, and,
equal for all items of a user, the highest log-probability of each component, the length of the history and the
popularity of its last item. With standardised features

    score = a'x + v' gelu(W'x + b),

and the loss is the cross-entropy of a softmax over the user's candidates (ListNet's top-one loss, Cao et al. 2007).
It is fitted to validation items. Cross-validation over their users chooses H, the number of hidden units, and whether
items are re-ranked at all. Test items are not read.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.ranking import user_values
from jaxrec.evaluate.seen_items import history_lengths, padded_width
from jaxrec.keys import generator
from jaxrec.types import Array, Histories

METRIC = "ndcg@10"
CANDIDATES = 300
"""Items that are re-ranked, besides those of the history."""
HIDDEN = (8, 32)
"""Numbers of hidden units that are tried."""
FOLDS = 4
FITS = len(HIDDEN) * FOLDS + 1
EPOCHS, LEAST_STEPS, BATCH = 20, 200, 256
LEARNING_RATE = 1e-2
LEAST_LOG = -50.0
"""Log-probabilities below count as this."""
GRAIN = 2.0**-14
"""Scores are rounded to multiples, so that neither batch nor device decides between equal items."""
MOST_VALUES = 2**27
"""Features kept in memory for fitting, 512 MB; of many users, fewer are drawn."""

Params = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Clues:
    """Counts in training events that tell more of an item than a component's score.

    Attributes:
      scorers: of counts, at least 0, for users' histories.
      popularity: training events of each item, i64[I].
    """

    scorers: tuple[Scorer, ...]
    popularity: np.ndarray


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Some items of each user, best first by the blend.

    Attributes:
      items: i64[B,K], with K as the longest history asks for it.
      is_candidate: whether they are among the user's own first, bool[B,K].
      is_open: whether they compete: not those of the history, if these are left out; bool[B,K].
      features: not standardised, f32[B,K,F].
    """

    items: np.ndarray
    is_candidate: np.ndarray
    is_open: np.ndarray
    features: np.ndarray

    @classmethod
    def of(
        cls,
        mixed: np.ndarray,
        log_probs: Sequence[np.ndarray],
        clues: Clues,
        histories: Histories,
        users: np.ndarray,
        *,
        mask_seen: bool,
    ) -> Candidates:
        """The first `CANDIDATES` items of a blend and as many more as the history holds, with their features.

        Items that are tied with the first one that is left out are left out, too.

        Args:
          mixed: the blend's scores, f32[B,I].
          log_probs: of its components, f32[B,I] each.
          clues: counts.
          histories: of all users.
          users: the rows' users, i32[B].
          mask_seen: whether items of the history do not compete.
        """
        lengths, n_items = history_lengths(histories)[users], histories.n_items
        size = min(n_items, CANDIDATES + 1 + (padded_width(int(lengths.max(initial=0))) if mask_seen else 0))
        known = np.nan_to_num(mixed, nan=-np.inf)
        items = np.argpartition(-known, size - 1, axis=1)[:, :size]
        items = np.sort(items, axis=1)  # equal scores: by number, whatever the partition did
        items = np.take_along_axis(items, np.argsort(-_of(known, items), axis=1, kind="stable"), axis=1)
        most = CANDIDATES + (lengths if mask_seen else np.zeros_like(lengths))
        left_out = np.append(_of(known, items), np.full((len(items), 1), -np.inf), axis=1)
        is_candidate = _of(known, items) > _of(left_out, np.minimum(most, size)[:, None])
        is_open = is_candidate.copy()
        if mask_seen:
            seen = np.zeros(mixed.shape, bool)
            for row, user in enumerate(users.tolist()):
                seen[row, histories.of(user)] = True
            is_open &= ~_of(seen, items)
        of_items = [np.maximum(np.nan_to_num(_of(logs, items), nan=LEAST_LOG), LEAST_LOG) for logs in log_probs]
        highest = [np.where(is_open, logs, LEAST_LOG).max(axis=1) for logs in of_items]
        counts = [np.log1p(_of(np.asarray(score(histories, users)), items)) for score in clues.scorers]
        last = histories.items[np.maximum(histories.offsets[1:][users] - 1, 0)] if len(histories.items) else None
        popularity = np.where(lengths > 0, clues.popularity[last], 0) if last is not None else np.zeros(len(users))
        of_users = [*highest, np.log1p(lengths), np.log1p(popularity)]
        shape = items.shape
        columns = [*of_items, *counts, *(np.broadcast_to(values[:, None], shape) for values in of_users)]
        return cls(items, is_candidate, is_open, np.stack(columns, axis=-1, dtype=np.float32))


@dataclasses.dataclass(frozen=True)
class Reranker:
    """A fitted network and what it was fitted with.

    Attributes:
      params: linear f32[F], hidden f32[F,H], bias f32[H] and output f32[H].
      mean, scale: of the features, f32[F].
      mask_seen: whether items of the history did not compete.
      ndcg: NDCG@10 on the validation items of the users in `users`, by cross-validation.
      ndcg_before: the same of the blend.
      users: number of users whose validation item was among the candidates, and who were drawn.
      clues: counts.
    """

    params: dict[str, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray
    mask_seen: bool
    ndcg: float
    ndcg_before: float
    users: int
    clues: Clues

    def scores(
        self, mixed: np.ndarray, log_probs: Sequence[np.ndarray], histories: Histories, users: np.ndarray
    ) -> np.ndarray:
        """Log-probabilities of all items, f32[B,I]: candidates by the network, others below in the blend's order.

        Args:
          mixed: the blend's scores, f32[B,I].
          log_probs: of its components, f32[B,I] each.
          histories: of all users.
          users: the rows' users, i32[B].
        """
        found = Candidates.of(mixed, log_probs, self.clues, histories, users, mask_seen=self.mask_seen)
        scores = _rounded(np.asarray(_network(self.params, (found.features - self.mean) / self.scale)))
        mine = found.is_candidate
        others = np.array(mixed, np.float64)
        np.put_along_axis(others, found.items, np.where(mine, -np.inf, _of(others, found.items)), axis=1)
        highest = np.nan_to_num(others, nan=-np.inf).max(axis=1, keepdims=True)
        lowest = np.where(mine, scores, np.inf).min(axis=1, keepdims=True)
        lowest = np.where(np.isfinite(lowest), lowest, 0)  # nobody is a candidate where all are tied
        placed = others + lowest - 1 - np.where(highest > -np.inf, highest, 0)
        np.put_along_axis(placed, found.items, np.where(mine, scores, _of(placed, found.items)), axis=1)
        placed = np.where(mixed > -np.inf, placed, mixed)
        known = np.nan_to_num(placed, nan=-np.inf)
        return (placed - scipy.special.logsumexp(known, axis=1, keepdims=True)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """For blend.json; see `from_dict`."""
        values = {name: np.asarray(value).tolist() for name, value in self.params.items()}
        return {**self.summary(), "params": values, "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def summary(self) -> dict[str, Any]:
        """For results.json: what was chosen, and how."""
        return {
            "hidden": int(self.params["bias"].shape[0]),
            "candidates": CANDIDATES,
            "mask_seen": self.mask_seen,
            "validation": {
                "metric": METRIC,
                "value": self.ndcg,
                "before": self.ndcg_before,
                "users": self.users,
                "folds": FOLDS,
            },
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], clues: Clues) -> Reranker:
        """The re-ranker that `to_dict` wrote; raises KeyError if something is missing."""
        chosen = content["validation"]
        params = {name: np.asarray(content["params"][name], np.float32) for name in _PARAMS}
        mean, scale = (np.asarray(content[name], np.float32) for name in ("mean", "scale"))
        mask_seen, figures = content["mask_seen"], (chosen["value"], chosen["before"], chosen["users"])
        return cls(params, mean, scale, mask_seen, *figures, clues)


_PARAMS = ("linear", "hidden", "bias", "output")


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
          histories: of all users.
          users: the rows' users, i32[B].
          target: i32[B].
        """
        found = Candidates.of(mixed, log_probs, self.clues, histories, users, mask_seen=self.mask_seen)
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

        Args:
          seed: of initial weights, folds and batches.
          on_fit: called after each of `FITS` fits with their number so far.
        """
        target = np.concatenate(self._target)
        if len(target) < FOLDS:
            return None
        features, is_open = np.concatenate(self._features), np.concatenate(self._is_open)
        mean = features.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        scale = np.maximum(features.std(axis=(0, 1), dtype=np.float64), 1e-6).astype(np.float32)
        data = jnp.asarray((features - mean) / scale), jnp.asarray(is_open), jnp.asarray(target)
        before = float(np.mean(user_values(1.0 + target, METRIC)))  # candidates are in the blend's order
        fold = generator(seed, "folds of the re-ranker").permutation(len(target)) % FOLDS
        start = np.zeros_like(scale)
        start[: len(self.weights)] = self.weights * scale[: len(self.weights)]
        by_hidden, done = {}, itertools.count(1)
        for hidden in HIDDEN:
            ranks = np.zeros(len(target))
            for held_out in range(FOLDS):
                params = _fitted(data, np.flatnonzero(fold != held_out), start, hidden, seed)
                rows = np.flatnonzero(fold == held_out)
                ranks[rows] = _ranks(params, data, rows)
                on_fit(next(done))
            by_hidden[hidden] = float(np.mean(user_values(ranks, METRIC)))
        best = max(by_hidden, key=by_hidden.__getitem__)
        if by_hidden[best] <= before:
            return None
        params = jax.device_get(_fitted(data, np.arange(len(target)), start, best, seed))
        on_fit(next(done))
        return Reranker(params, mean, scale, self.mask_seen, by_hidden[best], before, len(target), self.clues)


@jax.jit
def _network(params: Params, features: Array) -> jax.Array:
    """Scores f32[...] of standardised features f32[...,F]."""
    pre = features @ params["hidden"]
    hidden = jax.nn.gelu(pre + jnp.broadcast_to(params["bias"], pre.shape))
    return features @ params["linear"] + hidden @ params["output"]


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
        scores = jnp.where(is_open[rows], _network(params, features[rows]), -jnp.inf)
        nll = optax.softmax_cross_entropy_with_integer_labels(scores, target[rows]).mean()
        return nll + decay * (jnp.sum(params["hidden"] ** 2) + jnp.sum(params["output"] ** 2))

    def step(state: Any, rows: Array) -> tuple[Any, None]:
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params, rows), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), order)
    return params


def _ranks(params: Params, data: tuple[Array, Array, Array], rows: np.ndarray) -> np.ndarray:
    """Ranks of the targets of some users, f64[m]; ties count half."""
    ranks = [_ranks_of_some(params, *(x[part] for x in data)) for part in np.array_split(rows, -(-len(rows) // 1024))]
    return np.concatenate([np.asarray(x, np.float64) for x in ranks])


@jax.jit
def _ranks_of_some(params: Params, features: Array, is_open: Array, target: Array) -> jax.Array:
    scores = jnp.where(is_open, _network(params, features), -jnp.inf)
    of_target = jnp.take_along_axis(scores, target[:, None], axis=1)
    return 1 + jnp.sum(scores > of_target, axis=1) + (jnp.sum(scores == of_target, axis=1) - 1) / 2


def _of(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, items, axis=1)


def _rounded(scores: np.ndarray) -> np.ndarray:
    return np.round(scores.astype(np.float64) / GRAIN) * GRAIN
