"""Every user of a split through both doors, against ranks taken one user at a time."""

import dataclasses
import itertools
import types

import numpy as np
import pytest

from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.evaluate.full_ranking import evaluate_recommender, evaluate_scores, result_of_group
from jaxrec.evaluate.seen_items import seen_rows
from jaxrec.progress import messages_to
from jaxrec.types import Histories, Split, TopK

ITEMS = 12


def table_of_scores(n_users: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 5, (n_users, ITEMS)).astype(np.float32)


def ranks_by_loop(scores: np.ndarray, split: Split, part: str, mask_seen: bool = True) -> np.ndarray:
    actual = np.full(len(split.test), np.nan, np.float32)
    for user, target in enumerate(split.target(part)):
        if target < 0:
            continue
        seen = set(split.history(part).of(user).tolist()) if mask_seen else set()
        rivals = [scores[user, i] for i in range(ITEMS) if i != target and i not in seen]
        actual[user] = 1 + sum(r > scores[user, target] for r in rivals)
        actual[user] += 0.5 * sum(r == scores[user, target] for r in rivals)
    return actual


class Lister:
    """A recommender that reads the user out of the prompt and sorts that user's scores; records what it was handed."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.shapes = scores, set()

    def __call__(self, source: np.ndarray, seen: np.ndarray | None, k: int) -> TopK:
        self.shapes.add((source.shape, None if seen is None else seen.shape))
        scores = self.scores[source[:, 0]].copy()
        if seen is not None:
            for row, items in zip(scores, seen, strict=True):
                row[items[items >= 0]] = -np.inf
        items = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
        values = np.take_along_axis(scores, items, axis=1)
        return TopK(np.where(np.isinf(values), -1, items), values)


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("mask_seen", [True, False])
@pytest.mark.parametrize("batch_users", [1, 4, 64])
def test_scores_equal_the_loop(split: Split, part: str, mask_seen: bool, batch_users: int) -> None:
    scores = table_of_scores(11)
    result = evaluate_scores(
        "x", lambda _, users: scores[users], split, part, mask_seen=mask_seen, batch_users=batch_users
    )
    np.testing.assert_array_equal(result.ranks, ranks_by_loop(scores, split, part, mask_seen))
    assert result.row()["n_users"] == 10
    assert result.tied is not None
    level = (scores == np.take_along_axis(scores, np.maximum(split.target(part), 0)[:, None], axis=1)).sum(axis=1) - 1
    if not mask_seen:
        np.testing.assert_array_equal(result.tied, np.where(split.target(part) < 0, np.nan, level))
    assert result.row()["ties"]["share"] == pytest.approx(np.nanmean(result.tied > 0) * 11 / 10)


def test_the_scorer_is_given_what_is_known_before_the_target(split: Split) -> None:
    given: list[Histories] = []

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        given.append(histories)
        return np.zeros((len(users), ITEMS), np.float32)

    evaluate_scores("x", score, split, "valid")
    evaluate_scores("x", score, split, "test")
    assert given[0].of(0).tolist() == split.train.of(0).tolist()
    assert given[1].of(0).tolist() == [*split.train.of(0).tolist(), split.valid[0]]


def test_lists_rank_as_scores_do_up_to_their_length(split: Split) -> None:
    scores = np.random.default_rng(3).permuted(np.tile(np.arange(12.0, dtype=np.float32), (11, 1)), axis=1)
    lister = Lister(scores)
    result = evaluate_recommender("x", lister, lambda users: users[:, None], split, "test", k=5, batch_users=4)
    expected = ranks_by_loop(scores, split, "test")
    np.testing.assert_array_equal(result.ranks, np.where(expected > 5, np.inf, expected))
    assert len(lister.shapes) == 1, "a jitted recommender would be traced again"
    assert set(result.row()) == {"system", "hr@5", "ndcg@5", "mrr@5", "n_users", "seconds"}


def test_a_subset_of_users_leaves_the_others_unranked(split: Split) -> None:
    scores = table_of_scores(11)
    users = np.array([7, 3, 1])
    result = evaluate_scores("x", lambda _, users: scores[users], split, "test", users=users)
    expected = ranks_by_loop(scores, split, "test")
    np.testing.assert_array_equal(result.ranks[[7, 1]], expected[[7, 1]])
    assert np.isnan(np.delete(result.ranks, [7, 1])).all()


def test_baselines_learn_from_the_training_part_alone(split: Split) -> None:
    moved = dataclasses.replace(split, test=np.where(split.test >= 0, 0, -1).astype(np.int32))
    first, second = evaluate_baselines(split, "valid"), evaluate_baselines(moved, "valid")
    assert [r.system for r in first] == ["popularity", "item-kNN", "transitions"]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.ranks, b.ranks)


def test_seen_rows_keep_the_newest(split: Split) -> None:
    rows = seen_rows(split.train, np.array([3, 0]), 3)
    newest = split.train.of(0)[-3:].tolist()
    assert rows.tolist() == [[-1, -1, -1], newest + [-1] * (3 - len(newest))]


def test_long_evaluations_say_how_long_they_take(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 6)
    monkeypatch.setattr("jaxrec.progress.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    scores = table_of_scores(11)
    lines: list[str] = []
    with messages_to(lines.append):
        evaluate_scores("META ID", lambda _, users: scores[users], split, "test", batch_users=2)
    assert lines[0] == "META ID 4/10 users (40%)  0.33 users/s  ETA 0:18"


def test_mistakes_are_named(split: Split) -> None:
    def score(_: Histories, users: np.ndarray) -> np.ndarray:
        return np.zeros((len(users), ITEMS - 1), np.float32)

    with pytest.raises(ValueError, match=r"META ID: scores have shape \(512, 11\), expected \(512, 12\)"):
        evaluate_scores("META ID", score, split, "test")
    with pytest.raises(ValueError, match="part='train'"):
        evaluate_scores("x", score, split, "train")
    with pytest.raises(ValueError, match="no evaluated user has a target"):
        evaluate_scores("x", score, split, "test", users=np.array([3]))
    for users in ([0, 0], [11], [-1]):
        with pytest.raises(ValueError, match="numbers from 0 to 10"):
            evaluate_scores("x", score, split, "test", users=np.array(users))
    lister = Lister(table_of_scores(11))
    for k in (4, 13):
        with pytest.raises(ValueError, match=f"k={k}"):
            evaluate_recommender("x", lister, lambda users: users[:, None], split, "test", k=k)
    with pytest.raises(ValueError, match="recommended items have shape"):
        evaluate_recommender("x", lambda *_: TopK(np.zeros((2, 5)), None), lambda users: users, split, "test", k=5)


def test_results_are_divided_by_users(split: Split) -> None:
    whole = evaluate_scores("x", lambda _, users: table_of_scores(11)[users], split, "test")
    members = np.arange(11) < 5
    (some,) = result_of_group(whole, "seen users", members)
    (others,) = result_of_group(whole, "unseen users", ~members)
    assert (some.system, others.system) == ("x, seen users", "x, unseen users")
    rows = [result.row() for result in (whole, some, others)]
    n, a, b = (row["n_users"] for row in rows)
    assert a + b == n == 10
    assert rows[0]["hr@5"] * n == pytest.approx(rows[1]["hr@5"] * a + rows[2]["hr@5"] * b)
    assert result_of_group(whole, "nobody", np.zeros(11, bool)) == []
