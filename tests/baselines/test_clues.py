"""Clues against loops over histories."""

import numpy as np

from jaxrec.baselines.clues import count_clues
from tests.baselines.test_counted import TRAIN, ragged


def test_they_count_what_came_after_with_and_before() -> None:
    n_items, histories = 7, [[0, 1, 2], [4], [], [6, 3], [3, 1, 2, 0, 5]]
    after, together = np.zeros((2, n_items, n_items))
    for row in TRAIN:
        for i, item in enumerate(row):
            for j in range(i + 1, min(i + 6, len(row))):
                after[item, row[j]] += 1 / (j - i)
        for a in set(row):
            for b in set(row) - {a}:
                together[a, b] += 1

    def of_last(counts: np.ndarray, row: list[int], age: int) -> np.ndarray:
        return counts[row[-1 - age]] if len(row) > age else np.zeros(n_items)

    def before(row: list[int]) -> np.ndarray:
        return sum((0.6**age * after[:, item] for age, item in enumerate(reversed(row))), np.zeros(n_items))

    users, clues = np.array([4, 0, 1, 2, 3]), count_clues(ragged(TRAIN, n_items))
    rows = [histories[user] for user in users]
    expected = [[of_last(after, row, age) for row in rows] for age in range(3)]
    expected += [[of_last(together, row, age) for row in rows] for age in range(2)]
    expected.append([before(row) for row in rows])
    actual = [np.asarray(score(ragged(histories, n_items), users)) for score in clues.scorers]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert all(scores.dtype == np.float32 for scores in actual)
    np.testing.assert_array_equal(clues.popularity, [3, 3, 3, 4, 1, 1, 0])
