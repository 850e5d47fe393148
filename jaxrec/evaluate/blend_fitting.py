"""Fits blends to validation items: temperatures, weights, and a re-ranker; test items are not read."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.optimize

from jaxrec.evaluate.blend_weights import Weights, likeliest_weights, most_tries, search_weights
from jaxrec.evaluate.blending import Blend, Component, batches_of, mix
from jaxrec.evaluate.distributions import DISTRIBUTIONS
from jaxrec.evaluate.reranker_fitting import FITS, Fitting
from jaxrec.evaluate.reranking import CANDIDATES, Clues, Reranker
from jaxrec.evaluate.validation import validation_users
from jaxrec.keys import generator
from jaxrec.progress import Progress, logger
from jaxrec.types import Split

CALIBRATED = 512
"""Maximum number of validation users to fit temperatures and epsilons to."""
FITTED_TOGETHER = 4096
"""Users whose candidates a re-ranker gets before it is asked whether it has enough."""
KEPT_SCORES = 2**28
"""Scores kept while weights are tried, 1 GB; of large catalogues, fewer users are sampled."""


def fit_blend(
    components: Sequence[Component],
    split: Split,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    mask_seen: bool = True,
    most_users: int = 5000,
    seed: int = 0,
    clues: Clues | None = None,
) -> Blend:
    """Fits a blend on validation items; test items are not read.

    Temperatures and epsilons minimise each component's negative log-likelihood (Guo et al. 2017) over at most
    `CALIBRATED` of the sampled users. Then weights are searched by NDCG@10, see `search_weights`, from those that
    minimise the blend's negative log-likelihood.

    Args:
      components: at least two; their parameters are replaced.
      split: validation items, and the histories before them.
      groups: positions of components whose weights are equal, such as runs that differ in the seed alone, which no
        validation sample can tell apart; each component is in one group. None: each has its own weight.
      mask_seen: leave the items of the history out of the ranking.
      most_users: maximum number of sampled users, 0 = all; fewer if users x items x components exceeds `KEPT_SCORES`.
      seed: of the sample.
      clues: counts for a re-ranker, which is fitted to the validation items of all users; None: without one.
    Raises:
      ValueError: there are fewer than two components, two share a name, a component is not in exactly one group, or
        nobody has a validation item.
    """
    names = [c.name for c in components]
    groups = [[m] for m in range(len(names))] if groups is None else groups
    if sorted(m for group in groups for m in group) != list(range(len(names))):
        raise ValueError(f"groups {groups} must hold each of the {len(names)} components once")
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"a blend needs two or more systems of different names; got {', '.join(names) or 'none'}")
    room = max(1, KEPT_SCORES // (split.train.n_items * len(names)))
    users = validation_users(split, min(most_users or room, room), seed, stream="blend")
    batches = list(batches_of(components, split, "valid", users, mask_seen))
    fitted = tuple(
        dataclasses.replace(c, parameter=_parameter(c, [(b.scores[m], b.target) for b in batches]))
        for m, c in enumerate(components)
    )
    for batch in batches:
        for m, component in enumerate(fitted):
            batch.scores[m] = component.log_probs(batch.scores[m])

    step = _calibration_step([b.target for b in batches])
    log_probs = np.concatenate([np.stack([scores[::step] for scores in b.scores], axis=1) for b in batches])
    log_probs = np.stack([log_probs[:, list(group)].mean(axis=1) for group in groups], axis=1)
    target = np.concatenate([b.target[::step] for b in batches])
    start = likeliest_weights(log_probs, target)
    in_reach = [batches.pop().in_reach() for _ in range(len(batches))]  # one at a time, as scores take much memory
    progress = Progress("blend, weights", most_tries(len(groups)), unit="tries", quiet=10.0)
    number = itertools.count(1)

    def of_components(of_groups: Weights) -> Weights:
        by_component = {m: w / len(group) for group, w in zip(groups, of_groups, strict=True) for m in group}
        return tuple(by_component[m] for m in range(len(names)))

    def ndcg(of_groups: Weights) -> float:
        progress.update(next(number))
        weights = of_components(of_groups)
        return math.fsum(itertools.chain.from_iterable(batch.gains(weights) for batch in in_reach)) / len(users)

    with progress:
        best, tries = search_weights(len(groups), ndcg, start)
    of_tries = tuple((of_components(of_groups), value) for of_groups, value in tries)
    blend = Blend(fitted, of_components(best), dict(tries)[best], len(users), seed, of_tries)
    if clues is None:
        return blend
    reranker = _fit_reranker(blend, split, clues, mask_seen=mask_seen)
    return dataclasses.replace(blend, reranker=reranker)


def _fit_reranker(blend: Blend, split: Split, clues: Clues, *, mask_seen: bool) -> Reranker | None:
    """A re-ranker of the blend; None where its own order is as good on validation items."""
    histories, fitting = split.history("valid"), Fitting(blend.weights, clues, mask_seen=mask_seen)
    users = validation_users(split, 0, blend.seed, stream="re-ranker")
    users = generator(blend.seed, "users of the re-ranker").permutation(users)
    for part in np.array_split(users, -(-len(users) // FITTED_TOGETHER)):
        for batch in batches_of(blend.components, split, "valid", part, mask_seen):
            log_probs = [c.log_probs(scores) for c, scores in zip(blend.components, batch.scores, strict=True)]
            fitting.add(mix(log_probs, blend.weights), log_probs, histories, batch.users, batch.target)
        if fitting.full:
            break
    with Progress("blend, re-ranker", FITS, unit="fits", quiet=10.0) as progress:
        reranker = fitting.fit(blend.seed, progress.update)
    if reranker is None:
        logger.info("blend: a re-ranker is not better on validation items, so there is none")
    else:
        logger.info(
            "blend: re-ranking gives NDCG@10 %.4f for %.4f on %s validation users with the item among the first %d, "
            "by cross-validation",
            *(reranker.ndcg, reranker.ndcg_before, f"{reranker.users:,}", CANDIDATES),
        )
    return reranker


def _calibration_step(targets: Sequence[np.ndarray]) -> int:
    """Every how many-th row of each batch is taken, so that there are about `CALIBRATED`."""
    return -(-sum(map(len, targets)) // CALIBRATED)


def _parameter(component: Component, scored: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The component's parameter that minimises the negative log-likelihood of the targets; 1 where it has none.

    Args:
      component: to fit.
      scored: batches of scores f32[n,I] and targets i32[n]; rows are taken from all batches alike.
    """
    distribution = DISTRIBUTIONS[component.distribution]
    if not distribution.parameter:
        return 1.0
    step = _calibration_step([target for _, target in scored])
    scores, target = (np.concatenate([pair[n][::step] for pair in scored]) for n in (0, 1))

    def mean_nll(log_parameter: float) -> float:
        log_probs = distribution.log_probs(scores, float(np.exp(log_parameter)))
        return -float(log_probs[np.arange(len(target)), target].mean())

    low, high = np.log(distribution.bounds)
    best: Any = scipy.optimize.minimize_scalar(mean_nll, (low, high), bounds=(low, high), method="bounded")
    return float(np.exp(best.x))
