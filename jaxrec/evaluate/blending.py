"""Log-linear blends: an item's score is the weighted sum of the log-probabilities that several components give it.

score(i) = sum_m w_m log p_m(i), with weights of at least 0 that sum to 1: the logarithmic opinion pool (Genest and
Zidek 1986). Weights are chosen by NDCG@10 on the validation items of a sample of users.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.evaluate.blend_weights import Weights
from jaxrec.evaluate.distributions import DISTRIBUTIONS
from jaxrec.evaluate.full_ranking import Result, Scorer
from jaxrec.evaluate.ranking import rank_and_ties
from jaxrec.evaluate.reranking import Reranker
from jaxrec.evaluate.seen_items import blocks, padded_width, seen_rows
from jaxrec.progress import Progress
from jaxrec.types import Histories, Split

TOP = 10
METRIC = f"ndcg@{TOP}"
COUNTS = "counts"
"""Stands for the counted baselines in the name of a blend."""
RERANKED = ", re-ranked"
"""Ends the name of a blend whose first items are re-ranked."""
BATCH_USERS = 512
BATCH_SCORES = 2**23
"""Scores of a component in a batch, 32 MB; of large catalogues, batches have fewer users."""
LOWEST = np.float32(-1e30)
"""Stands for log-probabilities of -inf in margins, where a weight of 0 must give 0."""


@dataclasses.dataclass(frozen=True)
class Component:
    """A system that takes part in a blend.

    Attributes:
      name: as in tables.
      score: scores of all items for users of the data.
      score_new: the same for histories of users who are not in the data; None if it needs a user's own parameters.
      distribution: a name in `DISTRIBUTIONS`.
      parameter: its temperature or epsilon; 1 before it is fitted, and where there is none.
    """

    name: str
    score: Scorer
    score_new: Scorer | None
    distribution: str
    parameter: float = 1.0

    def log_probs(self, scores: np.ndarray) -> np.ndarray:
        """Log-probabilities over the catalogue, f32[B,I], from scores f32[B,I].

        Computed in float64 and rounded once, so that items with equal scores stay tied.
        """
        return DISTRIBUTIONS[self.distribution].log_probs(scores, self.parameter).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Blend:
    """Components with weights, and how the weights were chosen.

    Attributes:
      components: with fitted parameters.
      weights: one per component, at least 0, of sum 1; a component of weight 0 takes no part.
      ndcg: NDCG@10 of the blend on the validation items of the sampled users.
      users: number of sampled users.
      seed: of the sample.
      tries: the weights that were tried, with their NDCG@10.
      reranker: puts the blend's first items in order; None: the blend's own order.
    """

    components: tuple[Component, ...]
    weights: Weights
    ndcg: float
    users: int
    seed: int
    tries: tuple[tuple[Weights, float], ...] = ()
    reranker: Reranker | None = None

    @classmethod
    def alone(cls, component: Component) -> Blend:
        """A component by itself."""
        return cls((component,), (1.0,), float("nan"), 0, 0)

    @property
    def without_reranker(self) -> Blend:
        """The same components with the same weights, in the blend's own order."""
        return dataclasses.replace(self, reranker=None)

    @property
    def takes_part(self) -> list[bool]:
        """Whether each component's scores are needed: those of weight 0 are for a re-ranker alone."""
        return [weight > 0 or self.reranker is not None for weight in self.weights]

    def scores(self, log_probs: Sequence[np.ndarray], histories: Histories, users: np.ndarray) -> np.ndarray:
        """Scores of all items, f32[B,I].

        Args:
          log_probs: of each component, f32[B,I]; of those that take no part, anything.
          histories: of all users.
          users: the rows' users, i32[B].
        """
        mixed = mix(log_probs, self.weights)
        return mixed if self.reranker is None else self.reranker.scores(mixed, log_probs, histories, users)

    @property
    def named_weights(self) -> dict[str, float]:
        """Weights by component."""
        return dict(zip((c.name for c in self.components), self.weights, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """For results.json: weights, temperatures and epsilons by component, and how they were chosen."""
        parameters = {
            c.name: {DISTRIBUTIONS[c.distribution].parameter: c.parameter}
            for c in self.components
            if DISTRIBUTIONS[c.distribution].parameter
        }
        chosen = {"metric": METRIC, "value": self.ndcg, "users": self.users, "seed": self.seed}
        content = {
            "weights": self.named_weights,
            "parameters": parameters,
            "validation": chosen | {"tries": len(self.tries)},
        }
        return content if self.reranker is None else content | {"reranker": self.reranker.summary()}


def mix(log_probs: Sequence[np.ndarray], weights: Weights) -> np.ndarray:
    """Weighted sums of f32[B,I], without those of weight 0; f32[B,I]. Items that are tied in all of them stay tied."""
    terms = [np.float32(weight) * logs for logs, weight in zip(log_probs, weights, strict=True) if weight]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def evaluate_blends(
    rows: Mapping[str, Blend],
    split: Split,
    part: str,
    *,
    mask_seen: bool = True,
    baselines: Sequence[str] = (),
) -> list[Result]:
    """Full ranking of the held-out items by blends; a component that several of them share is scored once.

    Args:
      rows: blends by the names of their rows.
      split: targets and histories.
      part: "valid" or "test".
      mask_seen: leave the items of the history out of the ranking (never the target).
      baselines: rows that other systems are compared with.
    Raises:
      ValueError: nobody has a target.
    """
    users = np.flatnonzero(split.target(part) >= 0)
    if not len(users):
        raise ValueError(f"no user has a target in the {part} part of this split")
    started = time.monotonic()
    needed = {
        c.name: c
        for blend in rows.values()
        for c, takes_part in zip(blend.components, blend.takes_part, strict=True)
        if takes_part
    }
    histories = split.history(part)
    ranks = {name: np.full((2, len(split.test)), np.nan, np.float32) for name in rows}
    for batch in batches_of(list(needed.values()), split, part, users, mask_seen):
        log_probs = {c.name: c.log_probs(s) for c, s in zip(needed.values(), batch.scores, strict=True)}
        some = next(iter(log_probs.values()))  # stands for those that take no part
        for name, blend in rows.items():
            of_blend = [log_probs.get(c.name, some) for c in blend.components]
            ranks[name][:, batch.users] = batch.ranks(blend.scores(of_blend, histories, batch.users))
    seconds = time.monotonic() - started
    return [
        Result(
            *(name, by_user[0], seconds),
            tied=by_user[1],
            baseline=name in baselines,
            blended=len(rows[name].components) > 1,
        )
        for name, by_user in ranks.items()
    ]


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Scores of some users by all components, f32[n,I] each, with targets i32[n] and seen items i32[n,X] or None."""

    users: np.ndarray
    scores: list[np.ndarray]
    target: np.ndarray
    seen: np.ndarray | None

    def ranks(self, scores: np.ndarray) -> np.ndarray:
        """Ranks of the targets and numbers of tied items, f32[2,n]."""
        return np.stack([np.asarray(x) for x in rank_and_ties(scores, self.target, self.seen)])

    def margins(self) -> np.ndarray:
        """By how much each component puts each item above the target, f32[n,M,I]; the scores are log-probabilities.

        Only of the users whose targets some weights could rank among the first `TOP`. Seen items are far below.
        """
        scores, target = self._unseen(), self.target[:, None]
        of_target = [np.take_along_axis(x, target, axis=1) for x in scores]
        as_good = np.ones(scores[0].shape, bool)
        for x, own in zip(scores, of_target, strict=True):
            as_good &= x >= own
        # An item that no component puts below the target moves it down by half a rank or more, whatever the weights.
        kept = as_good.sum(axis=1) - 1 < 2 * TOP
        both = zip(scores, of_target, strict=True)
        return np.stack([np.maximum(x[kept], LOWEST) - np.maximum(own[kept], LOWEST) for x, own in both], axis=1)

    def _unseen(self) -> list[np.ndarray]:
        """The scores, with -inf for NaN and for seen items other than the target."""
        scores = [np.where(np.isnan(x), -np.inf, x) for x in self.scores]
        if self.seen is not None:
            rows, columns = np.nonzero((self.seen >= 0) & (self.seen != self.target[:, None]))
            for x in scores:
                x[rows, self.seen[rows, columns]] = -np.inf
        return scores


def batches_of(
    components: Sequence[Component], split: Split, part: str, users: np.ndarray, mask_seen: bool
) -> Iterator[_Batch]:
    """Batches of users with histories of similar length; components are always called with full batches."""
    histories = split.history(part)
    lengths = np.diff(histories.offsets)
    users = users[np.argsort(lengths[users], kind="stable")]
    size = min(BATCH_USERS, max(1, BATCH_SCORES // histories.n_items), len(users))
    with Progress(f"blend, {part} items", len(users), unit="users", quiet=10.0) as progress:
        for start in range(0, len(users), size):
            batch = users[start : start + size]
            full = np.pad(batch, (0, size - len(batch)), mode="edge").astype(np.int32)
            scores = [np.asarray(c.score(histories, full))[: len(batch)] for c in components]
            for rows in blocks(lengths[batch]) if mask_seen else [np.arange(len(batch))]:
                part_users = batch[rows]
                width = padded_width(int(lengths[part_users].max()))
                seen = seen_rows(histories, part_users, width) if mask_seen else None
                of_rows = scores if len(rows) == len(batch) else [x[rows] for x in scores]
                yield _Batch(part_users, of_rows, split.target(part)[part_users], seen)
            progress.update(start + len(batch))
