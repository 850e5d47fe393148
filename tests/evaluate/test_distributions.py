"""Distributions over the catalogue against their definitions, item by item."""

import math

import numpy as np
import pytest

from jaxrec.evaluate.distributions import DISTRIBUTIONS, share_log_probs, softmax_log_probs

SCORES = np.array([[2.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_softmax_divides_by_the_temperature(temperature: float) -> None:
    expected = [
        [math.exp(s / temperature) / sum(math.exp(t / temperature) for t in row) for s in row]
        for row in SCORES.tolist()
    ]
    np.testing.assert_allclose(np.exp(softmax_log_probs(SCORES, temperature)), expected, rtol=1e-12)


@pytest.mark.parametrize("epsilon", [1e-4, 0.1])
def test_shares_are_counts_over_their_sum_and_uniform_without_counts(epsilon: float) -> None:
    shares = [[0.4, 0.0, 0.2, 0.4], [0.25] * 4]
    expected = [[(share + epsilon) / (1 + 4 * epsilon) for share in row] for row in shares]
    np.testing.assert_allclose(np.exp(share_log_probs(SCORES, epsilon)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "shares"])
def test_probabilities_sum_to_one_and_keep_order_and_ties(name: str) -> None:
    log_probs = DISTRIBUTIONS[name].log_probs(SCORES, 0.01)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-12)
    assert log_probs[0, 0] == log_probs[0, 3] > log_probs[0, 2] > log_probs[0, 1]


def test_log_probabilities_are_kept() -> None:
    np.testing.assert_array_equal(DISTRIBUTIONS["log-probabilities"].log_probs(SCORES, 1.0), SCORES)
