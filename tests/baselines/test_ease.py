"""EASE beside a ridge regression for each column by itself, and a case worked by hand."""

import pathlib

import numpy as np
import pytest

from jaxrec.baselines import ease
from jaxrec.baselines.ease import EaseConfig, ease_weights, interaction_matrix
from jaxrec.config import WorldConfig
from jaxrec.data.split import make_split
from jaxrec.data.synthetic import generate_world
from jaxrec.types import DataError, Histories


def histories_of(rows: list[list[int]], n_items: int) -> Histories:
    return Histories(
        np.cumsum([0, *map(len, rows)]), np.array([item for row in rows for item in row], np.int32), n_items
    )


@pytest.mark.parametrize("regularization", [0.5, 20.0])
def test_each_column_is_a_ridge_regression_without_itself(regularization: float) -> None:
    rng = np.random.default_rng(0)
    x = interaction_matrix(histories_of([rng.integers(0, 12, rng.integers(1, 9)).tolist() for _ in range(40)], 13))
    actual, dense = ease_weights(x, regularization), x.toarray()
    assert actual.dtype == np.float32
    for item in range(13):
        others = np.delete(dense, item, axis=1)
        stacked = np.vstack([others, np.sqrt(regularization) * np.eye(12)])
        expected = np.linalg.lstsq(stacked, np.append(dense[:, item], np.zeros(12)), rcond=None)[0]
        np.testing.assert_allclose(np.delete(actual[:, item], item), expected, atol=1e-6)
        assert actual[item, item] == 0


def test_two_items_by_hand() -> None:
    x = interaction_matrix(histories_of([[0, 1, 1], [1]], 2))
    np.testing.assert_array_equal(x.toarray(), [[1, 1], [0, 1]])
    # Column 0 from item 1: (1 - b)^2 + (0 - b)^2 + 2 b^2 is least at 1/4. Column 1 from item 0: (1 - b)^2 + 2 b^2, 1/3.
    np.testing.assert_allclose(ease_weights(x, 2.0), [[0, 1 / 3], [1 / 4, 0]], rtol=1e-6)


def test_without_a_ridge_there_is_no_inverse() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        ease_weights(interaction_matrix(histories_of([[0]], 2)), 0.0)


def test_the_chosen_lambda_is_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = make_split(generate_world(WorldConfig(users=60, items=40, events_per_user=8), seed=0))
    settings, users = EaseConfig(regularization=(10.0, 1e6)), np.arange(60)
    first = ease.BASELINE.train(settings, split, 0, tmp_path)(split.history("test"), users)
    monkeypatch.setattr(ease, "choose_ease", lambda *_: pytest.fail("chosen a second time"))
    again = ease.BASELINE.train(settings, split, 0, tmp_path)(split.history("test"), users)
    np.testing.assert_array_equal(first, again)
    (tmp_path / "chosen.json").write_text('{"regularization": "much"}')
    with pytest.raises(DataError, match=r"chosen.json holds no regularization above 0; delete it"):
        ease.BASELINE.train(settings, split, 0, tmp_path)
