"""Validation by hand, and who is drawn for it."""

import numpy as np
import pytest

from jaxrec.evaluate.validation import validate_scores, validation_metrics, validation_split, validation_users
from jaxrec.types import Histories


def histories_of(rows: list[list[int]], n_items: int) -> Histories:
    items = np.array([item for row in rows for item in row], np.int32)
    return Histories(np.cumsum([0, *map(len, rows)]), items, n_items)


def test_validation_by_hand() -> None:
    assert validation_metrics(np.array([1, 3, 11, np.nan])) == pytest.approx({"hr@10": 2 / 3, "ndcg@10": (1 + 0.5) / 3})
    # The first user saw item 1: target 2 ranks first of items 0, 2, 3 with scores 1, 3, 0. The second's ranks third.
    split = validation_split(histories_of([[1], [0], [2]], 4), np.array([2, 3, -1], np.int32))
    scores = np.array([1, 9, 3, 0], np.float32)
    measured = validate_scores(lambda _, users: np.tile(scores, (len(users), 1)), split)
    assert measured == pytest.approx({"hr@10": 1.0, "ndcg@10": (1 + 1 / 2) / 2})
    alone = validate_scores(lambda _, users: np.tile(scores, (len(users), 1)), split, np.array([0]))
    assert alone == {"hr@10": 1.0, "ndcg@10": 1.0}


def test_the_same_users_are_drawn_at_every_call() -> None:
    valid = np.where(np.arange(50) % 5 == 0, -1, 1).astype(np.int32)
    split = validation_split(histories_of([[0]] * 50, 2), valid)
    drawn = validation_users(split, 10, 3)
    np.testing.assert_array_equal(drawn, validation_users(split, 10, 3))
    assert len(np.unique(drawn)) == 10
    assert (valid[drawn] >= 0).all()
    assert set(drawn.tolist()) != set(validation_users(split, 10, 4).tolist())
    for most in (0, 40, 100):
        np.testing.assert_array_equal(validation_users(split, most, 3), np.flatnonzero(valid >= 0))


def test_nobody_to_validate_on_is_named() -> None:
    histories, nobody = histories_of([[0]], 2), np.array([-1], np.int32)
    with pytest.raises(ValueError, match="no item that selects"):
        validation_split(histories, nobody)
    split = validation_split(histories, np.array([1], np.int32))
    split.valid[0] = -1
    with pytest.raises(ValueError, match="nobody has a validation item"):
        validation_users(split, 0, 0)
