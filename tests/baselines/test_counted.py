"""Baselines against plain loops over their definitions, and against the published table of the real data."""

import gzip
import pathlib

import numpy as np
import pytest

from jaxrec.baselines.counted import (
    COUNTED_BASELINES,
    evaluate_baselines,
    item_knn_scorer,
    popularity_scorer,
    transition_scorer,
)
from jaxrec.evaluate.ranking import metrics
from jaxrec.types import Histories, Split

TRAIN = [[0, 1, 2, 0], [1, 2, 3], [2, 1, 4, 5, 0, 3], [], [3, 3]]


def ragged(rows: list[list[int]], n_items: int) -> Histories:
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Histories(offsets, np.array([i for r in rows for i in r], np.int32), n_items)


def similarity_by_loop(rows: list[list[int]], n_items: int) -> np.ndarray:
    buyers = [{u for u, row in enumerate(rows) if item in row} for item in range(n_items)]
    actual = np.zeros((n_items, n_items))
    for a in range(n_items):
        for b in range(n_items):
            if a != b and buyers[a] and buyers[b]:
                actual[a, b] = len(buyers[a] & buyers[b]) / np.sqrt(len(buyers[a]) * len(buyers[b]))
    return actual


def transitions_by_loop(rows: list[list[int]], n_items: int) -> np.ndarray:
    total = np.zeros((n_items, n_items))
    for row in rows:
        for i, before in enumerate(row):
            for j in range(i + 1, min(i + 6, len(row))):
                total[before, row[j]] += 1 / (j - i)
    rows_, columns = np.maximum(total.sum(1), 1), np.maximum(total.sum(0), 1)
    return total / np.sqrt(rows_[:, None] * columns[None, :])


def test_popularity_counts_training_events() -> None:
    train = ragged(TRAIN, 7)
    scores = popularity_scorer(train)(train, np.array([0, 3]))
    np.testing.assert_array_equal(scores, [[3, 3, 3, 4, 1, 1, 0]] * 2)


def test_item_knn_is_the_sum_of_cosines() -> None:
    train, histories = ragged(TRAIN, 7), [[0, 1], [4], [], [6], [3, 3, 2]]
    similar = similarity_by_loop(TRAIN, 7)
    expected = [sum((similar[i] for i in row), np.zeros(7)) for row in histories]
    users = np.array([4, 0, 1, 2, 3])
    actual = item_knn_scorer(train)(ragged(histories, 7), users)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, np.array(expected)[users], rtol=1e-6, atol=0)


def test_transitions_weigh_the_newest_most() -> None:
    train, histories = ragged(TRAIN, 7), [[0, 1, 5], [4], [], [6], [3, 3, 2]]
    follows = transitions_by_loop(TRAIN, 7) + similarity_by_loop(TRAIN, 7) / 2
    expected = [sum((0.6**age * follows[i] for age, i in enumerate(reversed(row))), np.zeros(7)) for row in histories]
    actual = transition_scorer(train)(ragged(histories, 7), np.arange(5))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", COUNTED_BASELINES)
def test_histories_of_another_catalogue_are_refused(name: str) -> None:
    score = COUNTED_BASELINES[name](ragged(TRAIN, 7))
    with pytest.raises(ValueError, match="8 items"):
        score(ragged(TRAIN, 8), np.array([0]))


def read_sequences(file: pathlib.Path) -> Split:
    """All but the last two items of each line to train, then one each to select and to test."""
    numbers: dict[str, int] = {}
    with gzip.open(file, "rt") as lines:
        rows = [[numbers.setdefault(name, len(numbers)) for name in line.split()[1:]] for line in lines]
    return Split.of(
        train=ragged([r[:-2] for r in rows], len(numbers)),
        valid=np.array([r[-2] for r in rows], np.int32),
        test=np.array([r[-1] for r in rows], np.int32),
        between=ragged([r[-2:-1] for r in rows], len(numbers)),
        protocol="strict",
    )


# The table of the data folder's README: HR@5, NDCG@5, HR@10, NDCG@10.
PUBLISHED = {
    "amazon-beauty": {
        "popularity": (0.0081, 0.0044, 0.0120, 0.0056),
        "item-kNN": (0.0394, 0.0270, 0.0569, 0.0326),
        "transitions": (0.0583, 0.0428, 0.0756, 0.0483),
    },
    "lastfm": {
        "popularity": (0.0248, 0.0135, 0.0385, 0.0180),
        "item-kNN": (0.0477, 0.0298, 0.0771, 0.0393),
        "transitions": (0.0523, 0.0359, 0.0835, 0.0459),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "dataset", [pytest.param(name, marks=pytest.mark.soak if name == "amazon-beauty" else ()) for name in PUBLISHED]
)
def test_the_published_table(dataset: str, real_data: pathlib.Path) -> None:
    split = read_sequences(real_data / dataset / "user_sequence.txt.gz")
    for result in evaluate_baselines(split, "test"):
        actual = metrics(result.ranks)
        row = [actual[m] for m in ("hr@5", "ndcg@5", "hr@10", "ndcg@10")]
        # Printed with four places; one user's tie, split by rounding in the sums, may move the fourth.
        np.testing.assert_allclose(row, PUBLISHED[dataset][result.system], rtol=0, atol=1.5e-4)
