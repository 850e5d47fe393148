"""Scores of the whole catalogue as log-probabilities: softmax with a temperature, shares of counts, or as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.special


@dataclasses.dataclass(frozen=True)
class Distribution:
    """How scores become a distribution over the catalogue.

    Attributes:
      log_probs: log_probs(scores f32[B,I], parameter) -> f64[B,I]; increasing in the scores.
      parameter: name of its parameter; "" for none.
      bounds: between which the parameter is fitted.
    """

    log_probs: Callable[[np.ndarray, float], np.ndarray]
    parameter: str = ""
    bounds: tuple[float, float] = (1.0, 1.0)


def softmax_log_probs(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Log softmax(scores / temperature) over the catalogue, f64[B,I]."""
    return scipy.special.log_softmax(np.asarray(scores, np.float64) / temperature, axis=1)


def share_log_probs(counts: np.ndarray, epsilon: float) -> np.ndarray:
    """log((share + epsilon) / (1 + I epsilon)), f64[B,I].

    A share is the item's part of the sum of its row's counts; 1/I in a row of zeros.

    Args:
      counts: at least 0, f32[B,I].
      epsilon: added to each share, above 0.
    """
    counts = np.asarray(counts, np.float64)
    sums, n_items = counts.sum(axis=1, keepdims=True), counts.shape[1]
    shares = np.where(sums > 0, counts / np.where(sums > 0, sums, 1), 1 / n_items)
    return np.log((shares + epsilon) / (1 + n_items * epsilon))


DISTRIBUTIONS: dict[str, Distribution] = {
    "softmax": Distribution(softmax_log_probs, "temperature", (1e-3, 1e3)),
    "shares": Distribution(share_log_probs, "epsilon", (1e-8, 1e-1)),
    "log-probabilities": Distribution(lambda scores, _: np.asarray(scores, np.float64)),
}
