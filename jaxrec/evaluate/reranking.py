"""Re-ranking: a small network puts the first items of a blend in order, by what components and counts say of them.

Stacking (Wolpert 1992). An item's features x are the components' log-probabilities, log(1 + count) of each clue, and,
equal for all items of a user, the highest log-probability of each component, the length of the history and the
popularity of its last item. With standardised features

    score = a'x + v' gelu(W'x + b),

`reranker_fitting` fits it to validation items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.seen_items import history_lengths, padded_width
from jaxrec.types import Array, Histories

METRIC = "ndcg@10"
CANDIDATES = 300
"""Maximum number of items that are re-ranked, besides those of the history that stand above the last of them."""
FOLDS = 4
"""Parts of the users for cross-validation."""
LEAST_LOG = -50.0
"""Log-probabilities below count as this."""
GRAIN = 2.0**-14
"""Scores are rounded to multiples, so that neither batch nor device decides between equal items."""

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
        counted: bool = False,
    ) -> Candidates:
        """The first `CANDIDATES` items of a blend that compete, and those of the history among them; with features.

        Items that are tied with the first one that is left out are left out, too.

        Args:
          mixed: the blend's scores, f32[B,I].
          log_probs: of its components, f32[B,I] each.
          clues: counts.
          histories: of all users.
          users: the rows' users, i32[B].
          mask_seen: whether items of the history do not compete.
          counted: whether clues were counted from these very histories. A user's events with their last item are then
            taken out of its popularity, as the last item of a later history has not been counted.
        """
        lengths, n_items = history_lengths(histories)[users], histories.n_items
        size = min(n_items, CANDIDATES + 1 + (padded_width(int(lengths.max(initial=0))) if mask_seen else 0))
        known = np.where(np.isnan(mixed), -np.inf, mixed)
        items = np.argpartition(-known, size - 1, axis=1)[:, :size]
        items = np.sort(items, axis=1)  # equal scores: by number, whatever the partition did
        items = np.take_along_axis(items, np.argsort(-_of(known, items), axis=1, kind="stable"), axis=1)
        competes = np.ones(items.shape, bool)
        if mask_seen:
            seen = np.zeros(mixed.shape, bool)
            for row, user in enumerate(users.tolist()):
                seen[row, histories.of(user)] = True
            competes = ~_of(seen, items)
        scores, place = _of(known, items), np.cumsum(competes, axis=1)
        left_out = np.where(competes & (place > CANDIDATES), scores, -np.inf).max(axis=1, keepdims=True)
        is_candidate = scores > left_out
        is_open = is_candidate & competes
        of_items = [np.maximum(np.nan_to_num(_of(logs, items), nan=LEAST_LOG), LEAST_LOG) for logs in log_probs]
        highest = [np.where(is_open, logs, LEAST_LOG).max(axis=1) for logs in of_items]
        counts = [np.log1p(_of(np.asarray(score(histories, users)), items)) for score in clues.scorers]
        popularity = [_popularity_of_last(clues.popularity, histories.of(user), counted) for user in users.tolist()]
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
        scores = rounded(np.asarray(network(self.params, (found.features - self.mean) / self.scale)))
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
    def from_dict(cls, content: dict[str, Any], clues: Clues, components: int) -> Reranker:
        """The re-ranker that `to_dict` wrote.

        Args:
          content: what it wrote.
          clues: counts.
          components: number of the blend's components.
        Raises:
          KeyError: something is missing.
          ValueError: the parameters are not those of a network for these clues and components.
        """
        chosen = content["validation"]
        params = {name: np.asarray(content["params"][name], np.float32) for name in _PARAMS}
        mean, scale = (np.asarray(content[name], np.float32) for name in ("mean", "scale"))
        width, hidden = len(mean), len(params["bias"])
        shapes = [(width,), (width, hidden), (hidden,), (hidden,), (width,), (width,)]
        arrays = (*params.values(), mean, scale)
        if [x.shape for x in arrays] != shapes:
            raise ValueError(f"parameters of the re-ranker have shapes other than {shapes}")
        if width != (wanted := 2 * components + len(clues.scorers) + 2):
            raise ValueError(f"the re-ranker reads {width} features, and these parts and counts have {wanted}")
        if not all(np.isfinite(x).all() for x in arrays):
            raise ValueError("the re-ranker has parameters that are not finite")
        mask_seen, figures = content["mask_seen"], (chosen["value"], chosen["before"], chosen["users"])
        if not isinstance(mask_seen, bool):
            raise ValueError(f"mask_seen of the re-ranker is {mask_seen!r}, neither true nor false")
        return cls(params, mean, scale, mask_seen, *figures, clues)


_PARAMS = ("linear", "hidden", "bias", "output")


@jax.jit
def network(params: Params, features: Array) -> jax.Array:
    """Scores f32[...] of standardised features f32[...,F], in float32 on any device."""
    pre = jnp.matmul(features, params["hidden"], precision="highest")
    hidden = jax.nn.gelu(pre + jnp.broadcast_to(params["bias"], pre.shape))
    linear = jnp.matmul(features, params["linear"], precision="highest")
    return linear + jnp.matmul(hidden, params["output"], precision="highest")


def _popularity_of_last(popularity: np.ndarray, history: np.ndarray, counted: bool) -> int:
    """Training events of other users with a history's last item; 0 of none. See `Candidates.of`."""
    if not len(history):
        return 0
    own = int((history == history[-1]).sum()) if counted else 0
    return max(int(popularity[history[-1]]) - own, 0)  # of users that training has not seen, nothing was counted


def _of(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, items, axis=1)


def rounded(scores: np.ndarray) -> np.ndarray:
    """Multiples of `GRAIN`, f64 in the shape of f32."""
    return np.round(scores.astype(np.float64) / GRAIN) * GRAIN
