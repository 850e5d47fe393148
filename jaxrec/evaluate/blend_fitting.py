"""Fits blends to validation items: temperatures, weights, and a re-ranker; test items are not read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.optimize

from jaxrec.evaluate.blend_margins import Margins
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
    """A blend of all components; see `fit_blends`."""
    everything = range(len(components))
    (blend,) = fit_blends(
        *(components, split, [everything]),
        groups=groups,
        mask_seen=mask_seen,
        most_users=most_users,
        seed=seed,
        clues=clues,
    )
    return blend


def fit_blends(
    components: Sequence[Component],
    split: Split,
    subsets: Sequence[Sequence[int]],
    *,
    groups: Sequence[Sequence[int]] | None = None,
    mask_seen: bool = True,
    most_users: int = 5000,
    seed: int = 0,
    clues: Clues | None = None,
) -> list[Blend]:
    """Fits blends of some components each on validation items; test items are not read.

    Temperatures and epsilons minimise each component's negative log-likelihood (Guo et al. 2017) over at most
    `CALIBRATED` of the sampled users. Then weights are searched by NDCG@10, see `search_weights`, from those that
    minimise the blend's negative log-likelihood.

    Args:
      components: their parameters are replaced; each is scored once for all blends.
      split: validation items, and the histories before them.
      subsets: positions of each blend's components, at least two.
      groups: positions of components whose weights are equal, such as runs that differ in the seed alone, which no
        validation sample can tell apart; each component is in one group. None: each has its own weight.
      mask_seen: leave the items of the history out of the ranking.
      most_users: maximum number of sampled users, 0 = all; fewer if users x items x components exceeds `KEPT_SCORES`.
      seed: of the sample.
      clues: counts for a re-ranker, which is fitted to the validation items of all users; None: without one.
    Raises:
      ValueError: a blend has fewer than two components, two share a name, a component is not in exactly one group, or
        nobody has a validation item.
    """
    names = [c.name for c in components]
    groups = [[m] for m in range(len(names))] if groups is None else groups
    if sorted(m for group in groups for m in group) != list(range(len(names))):
        raise ValueError(f"groups {groups} must hold each of the {len(names)} components once")
    if min(map(len, subsets)) < 2 or len(set(names)) < len(names):
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
    target = np.concatenate([b.target[::step] for b in batches])
    margins = Margins([batches.pop().margins() for _ in range(len(batches))], len(users))
    blends = []
    for subset in subsets:
        within = [kept for group in groups if (kept := [m for m in group if m in subset])]
        start = likeliest_weights(np.stack([log_probs[:, group].mean(axis=1) for group in within], axis=1), target)
        weights, ndcg, tries = _searched(within, subset, margins, start)
        blends.append(Blend(tuple(fitted[m] for m in subset), weights, ndcg, len(users), seed, tries))
    del log_probs, margins
    if clues is None:
        return blends
    fittings = _collected(blends, fitted, split, clues, mask_seen=mask_seen)
    return [
        dataclasses.replace(blend, reranker=_reranker(blend, fitting))
        for blend, fitting in zip(blends, fittings, strict=True)
    ]


def _searched(
    groups: Sequence[Sequence[int]], subset: Sequence[int], margins: Margins, start: Weights
) -> tuple[Weights, float, tuple[tuple[Weights, float], ...]]:
    """The best weights of a subset's components by NDCG@10, their value, and all that were tried.

    Args:
      groups: of the subset's components, whose weights are equal.
      subset: positions of the components.
      margins: of all components.
      start: weights of the groups to try first.
    """
    tried: list[int] = []

    def of_components(of_groups: Weights) -> Weights:
        by_component = {m: w / len(group) for group, w in zip(groups, of_groups, strict=True) for m in group}
        return tuple(by_component[m] for m in subset)

    def ndcg(some: Sequence[Weights]) -> list[float]:
        weights = np.zeros((len(some), margins.n_components), np.float32)
        weights[:, list(subset)] = [of_components(of_groups) for of_groups in some]
        progress.update(sum(tried) + len(some))
        tried.append(len(some))
        return margins.ndcg(weights)

    with Progress("blend, weights", most_tries(len(groups)), unit="tries", quiet=10.0) as progress:
        best, tries = search_weights(len(groups), ndcg, start)
    return of_components(best), dict(tries)[best], tuple((of_components(w), value) for w, value in tries)


def _collected(
    blends: Sequence[Blend], components: Sequence[Component], split: Split, clues: Clues, *, mask_seen: bool
) -> list[Fitting]:
    """Candidates of validation users for a re-ranker of each blend; the components are scored once for all of them."""
    histories, seed = split.history("valid"), blends[0].seed
    fittings = [Fitting(blend.weights, clues, mask_seen=mask_seen) for blend in blends]
    users = validation_users(split, 0, seed, stream="re-ranker")
    users = generator(seed, "users of the re-ranker").permutation(users)
    for part in np.array_split(users, -(-len(users) // FITTED_TOGETHER)):
        for batch in batches_of(components, split, "valid", part, mask_seen):
            scored = zip(components, batch.scores, strict=True)
            log_probs = {c.name: c.log_probs(scores) for c, scores in scored}
            for blend, fitting in zip(blends, fittings, strict=True):
                of_blend = [log_probs[c.name] for c in blend.components]
                fitting.add(mix(of_blend, blend.weights), of_blend, histories, batch.users, batch.target)
        if all(fitting.full for fitting in fittings):
            break
    return fittings


def _reranker(blend: Blend, fitting: Fitting) -> Reranker | None:
    """A re-ranker of the blend; None where its own order is as good on validation items."""
    with Progress("blend, re-ranker", FITS, unit="fits", quiet=10.0) as progress:
        reranker = fitting.fit(blend.seed, progress.update)
    names = ", ".join(c.name for c in blend.components)
    if reranker is None:
        logger.info("blend of %s: a re-ranker is not better on validation items, so there is none", names)
    else:
        logger.info(
            "blend of %s: re-ranking gives NDCG@10 %.4f for %.4f on %s validation users with the item among the first "
            "%d, by cross-validation",
            *(names, reranker.ndcg, reranker.ndcg_before, f"{reranker.users:,}", CANDIDATES),
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
