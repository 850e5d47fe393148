"""EASE (Steck 2019): item-to-item weights in closed form by ridge regression with a zero diagonal."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Annotated

import numpy as np
import scipy.linalg
import scipy.sparse as sparse

from jaxrec.baselines.baseline import Baseline
from jaxrec.config.limits import Limits
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.validation import validate_scores
from jaxrec.files import read_kept, write_whole
from jaxrec.progress import logger
from jaxrec.tasks.ragged import histories_of
from jaxrec.types import DataError, Histories, Split


@dataclasses.dataclass(frozen=True)
class EaseConfig:
    """The one setting of EASE."""

    regularization: tuple[Annotated[float, Limits(above=0, at_most=1e9)], ...] = (50.0, 200.0, 500.0, 1000.0)
    """lambda; of several, the one with the best NDCG@10 on the validation items is used."""


def interaction_matrix(histories: Histories) -> sparse.csr_matrix:
    """The binary matrix X of users and items, f64[U, I]; repeated events count once."""
    shape = histories.n_users, histories.n_items
    matrix = sparse.csr_matrix((np.ones(histories.n_events), (histories.users, histories.items)), shape)
    matrix.data[:] = 1.0  # repeated events were summed
    return matrix


def ease_weights(x: sparse.csr_matrix, regularization: float) -> np.ndarray:
    """B that minimises |X - X B|^2 + lambda |B|^2 with a zero diagonal; Steck 2019, eq. 8.

    B = I - P diag(1 / diag(P)) with P = (X'X + lambda I)^-1, by an in-place Cholesky factorisation: I^2 float64
    numbers, O(I^3) operations, a minute and 1.2 GB for 12,000 items.

    Args:
      x: f64[U, I].
      regularization: lambda, above 0.
    Returns:
      f32[I, I]; column j holds the weights that score item j.
    Raises:
      ValueError: lambda is not above 0.
    """
    if not regularization > 0:
        raise ValueError(f"regularization={regularization} must be above 0, 200 say")
    gram = np.asarray((x.T @ x).toarray(), order="F", dtype=np.float64)
    gram[np.diag_indices_from(gram)] += regularization
    factorise, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, factor_error = factorise(gram, lower=True, overwrite_a=True)
    inverse, inverse_error = invert(factor, lower=True, overwrite_c=True)
    if factor_error or inverse_error:
        raise ValueError(f"X'X + {regularization} I has no inverse in float64; raise the regularization")
    scale = -1.0 / np.diag(inverse)
    lower = np.tril(inverse, -1).astype(np.float32)
    weights = lower + lower.T
    weights *= scale.astype(np.float32)[None]
    return weights


def choose_ease(split: Split, config: EaseConfig) -> tuple[float, Scorer]:
    """The lambda with the best NDCG@10 on the validation items, or the only one, and EASE with it.

    Raises:
      ValueError: no lambda is given, one is not above 0, or several are given and nobody has a validation item.
    """
    if not config.regularization:
        raise ValueError("ease.regularization holds none; give at least one, 200 say")
    x, best, chosen = interaction_matrix(split.train), -1.0, None
    for regularization in config.regularization:
        scorer = ease_scorer(ease_weights(x, regularization))
        if len(config.regularization) == 1:
            return regularization, scorer
        value = validate_scores(scorer, split)["ndcg@10"]
        logger.info("EASE: lambda %g: valid/ndcg@10 %.4f", regularization, value)
        if value > best:
            best, chosen = value, (regularization, scorer)
    assert chosen is not None  # an NDCG is at least 0
    return chosen


def ease_scorer(weights: np.ndarray) -> Scorer:
    """Scores as the sum of the rows of `weights` f32[I, I] over a history's distinct items."""

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        if histories.n_items != len(weights):
            raise ValueError(
                f"histories are over {histories.n_items} items, but EASE was trained on {len(weights)}; "
                "take both from one split"
            )
        return np.asarray(interaction_matrix(histories_of(histories, users)).astype(np.float32) @ weights)

    return score


def _train(settings: EaseConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    """Keeps the chosen lambda in the folder, so that a second call, as of a blend that is loaded, fits it alone.

    Raises:
      DataError: the file in the folder is damaged.
    """
    del seed
    file, remedy = folder / "chosen.json", "delete it, and lambda is chosen anew"
    if not file.is_file():
        chosen, scorer = choose_ease(split, settings)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({"regularization": chosen}) + "\n")
        return scorer
    chosen = read_kept(file, "json", remedy).get("regularization")
    if not isinstance(chosen, float | int) or not chosen > 0:
        raise DataError(f"{file} holds no regularization above 0; {remedy}")
    return ease_scorer(ease_weights(interaction_matrix(split.train), float(chosen)))


# At the most items its weights take 2.5 GB, and fitting one lambda minutes.
BASELINE = Baseline("EASE", EaseConfig(), _train, new_users=True, most_items=25_000)
