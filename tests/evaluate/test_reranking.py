"""Re-ranking against a loop; that it finds what a blend can't say, declines noise, and reads no test item."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special

from jaxrec.evaluate import reranker_fitting, reranking
from jaxrec.evaluate.blend_fitting import fit_blend
from jaxrec.evaluate.blending import Component, evaluate_blends
from jaxrec.evaluate.reranking import Candidates, Clues, Reranker
from jaxrec.types import Histories, Split

USERS, ITEMS = 400, 40


def table(name: str, scores: np.ndarray) -> Component:
    return Component(name, lambda histories, users: scores[users], None, "softmax")


def world(*, planted: bool, seed: int = 0) -> tuple[Split, list[Component], Clues]:
    """Next items are those that a clue and a component both speak for, if `planted`; neither alone says anything."""
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(ITEMS)[:6] for _ in range(USERS)]).astype(np.int32)
    a, clue = rng.integers(0, 2, (2, USERS, ITEMS)).astype(np.float32)
    scores = a + 0.01 * rng.normal(size=a.shape).astype(np.float32)
    if planted:
        both = (a == clue).astype(np.float64) + 1e-3
        for user in range(USERS):
            both[user, rows[user, :4]] = 0
            rows[user, 4:] = rng.choice(ITEMS, 2, replace=False, p=both[user] / both[user].sum())
    histories = Histories(np.arange(0, 4 * USERS + 1, 4), np.ascontiguousarray(rows[:, :4]).reshape(-1), ITEMS)
    between = Histories(np.arange(USERS + 1), np.ascontiguousarray(rows[:, 4]), ITEMS)
    split = Split.of(histories, rows[:, 4], rows[:, 5], between, "strict")
    noise = rng.normal(size=a.shape).astype(np.float32)
    clues = Clues((lambda histories, users: clue[users],), np.bincount(histories.items, minlength=ITEMS))
    return split, [table("a", scores), table("noise", noise)], clues


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps, of one size of the network."""
    monkeypatch.setattr(reranker_fitting, "HIDDEN", (32,))
    monkeypatch.setattr(reranker_fitting, "BATCH", 64)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few candidates that some items are none."""
    monkeypatch.setattr(reranking, "CANDIDATES", 20)


def test_what_no_blend_can_say_is_found() -> None:
    split, components, clues = world(planted=True)
    blend = fit_blend(components, split, clues=clues)
    assert blend.reranker is not None
    assert blend.reranker.ndcg > blend.reranker.ndcg_before + 0.05
    reranked, before = evaluate_blends({"reranked": blend, "before": blend.without_reranker}, split, "test")
    assert (reranked.system, before.system) == ("reranked", "before")
    assert np.mean(reranked.ranks) < np.mean(before.ranks) - 3
    assert blend.to_dict()["reranker"]["validation"]["users"] == USERS
    again = fit_blend(components, dataclasses.replace(split, test=split.valid), clues=clues)
    assert again.reranker is not None
    assert again.reranker.to_dict() == blend.reranker.to_dict(), "test items are not read"


def test_noise_is_left_as_it_is() -> None:
    split, components, clues = world(planted=False)
    blend = fit_blend(components, split, clues=clues)
    assert blend.reranker is None
    assert "reranker" not in blend.to_dict()


def test_of_too_few_users_nothing_is_learned() -> None:
    split, components, clues = world(planted=True)
    split = dataclasses.replace(split, valid=np.where(np.arange(USERS) < 3, split.valid, -1))
    assert fit_blend(components, split, clues=clues).reranker is None


def any_reranker(clues: Clues, *, mask_seen: bool, n_components: int = 2) -> Reranker:
    rng = np.random.default_rng(3)
    width = 2 * n_components + len(clues.scorers) + 2
    shapes = {"linear": (width,), "hidden": (width, 8), "bias": (8,), "output": (8,)}
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    mean, scale = rng.normal(size=width).astype(np.float32), np.full(width, 1.5, np.float32)
    return Reranker(params, mean, scale, mask_seen, 0.5, 0.4, 9, clues)


@pytest.mark.parametrize("mask_seen", [True, False])
def test_scores_are_those_of_a_loop(few: None, mask_seen: bool) -> None:
    split, components, clues = world(planted=True)
    reranker, histories, users = any_reranker(clues, mask_seen=mask_seen), split.train, np.array([7, 3, 200])
    log_probs = [c.log_probs(np.asarray(c.score(histories, users))) for c in components]
    log_probs[1][1, 5] = -np.inf
    mixed = 0.6 * log_probs[0] + 0.4 * log_probs[1]
    actual = reranker.scores(mixed, log_probs, histories, users)
    for row, user in enumerate(users.tolist()):
        order = np.argsort(-mixed[row], kind="stable")
        seen = set(histories.of(user).tolist()) if mask_seen else set()
        left_out = [item for item in order.tolist() if item not in seen][20]
        size = order.tolist().index(left_out)
        first, rest = order[:size], order[size:]
        open_ = [item for item in first.tolist() if item not in seen]
        highest = [max(logs[row, item] for item in open_) for logs in log_probs]
        last = histories.of(user)[-1]
        network = []
        for item in first.tolist():
            counts = [np.log1p(score(histories, np.array([user]))[0, item]) for score in clues.scorers]
            x = [max(logs[row, item], -50) for logs in log_probs]
            x = np.array([*x, *counts, *highest, np.log1p(4), np.log1p(clues.popularity[last])], np.float64)
            x = (x - reranker.mean) / reranker.scale
            hidden = x @ reranker.params["hidden"] + reranker.params["bias"]
            gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
            network.append(x @ reranker.params["linear"] + gelu @ reranker.params["output"])
        differences = actual[row, first] - actual[row, first[0]]
        np.testing.assert_allclose(differences, np.array(network) - network[0], atol=2e-3)
        finite = rest[np.isfinite(mixed[row, rest])]
        assert actual[row, finite].max() <= actual[row, first].min() - 1 + 1e-5
        np.testing.assert_allclose(np.diff(actual[row, finite]), np.diff(mixed[row, finite]), atol=1e-5)
        assert scipy.special.logsumexp(actual[row]) == pytest.approx(0, abs=1e-5)
    assert actual[1, 5] == -np.inf


def test_a_list_depends_neither_on_who_shares_the_batch_nor_on_the_order_of_equals(few: None) -> None:
    split, components, clues = world(planted=True)
    reranker, users = any_reranker(clues, mask_seen=True), np.arange(50)
    log_probs = [c.log_probs(np.asarray(c.score(split.train, users))) for c in components]
    log_probs[0][:, 11], log_probs[1][:, 11] = log_probs[0][:, 10], log_probs[1][:, 10]
    equal = Clues((lambda histories, users: np.ones((len(users), ITEMS), np.float32),), clues.popularity)
    reranker = dataclasses.replace(reranker, clues=equal)
    together = reranker.scores(log_probs[0] + log_probs[1], log_probs, split.train, users)
    np.testing.assert_array_equal(together[:, 10], together[:, 11])
    for user in (0, 17):
        alone = [logs[user : user + 1] for logs in log_probs]
        one = reranker.scores(alone[0] + alone[1], alone, split.train, users[user : user + 1])
        np.testing.assert_allclose(one[0], together[user], atol=2e-4)


def test_no_more_items_are_reranked_than_were_fitted_wherever_the_history_stands(few: None) -> None:
    split, components, clues = world(planted=True)
    users = np.arange(30)
    log_probs = [c.log_probs(np.asarray(c.score(split.train, users))) for c in components]
    for place in (-9.0, 9.0):  # items of the history stand last, or first
        mixed = log_probs[0].copy()
        for user in users:
            mixed[user, split.train.of(user)] += place
        found = Candidates.of(mixed, log_probs, clues, split.train, users, mask_seen=True)
        np.testing.assert_array_equal(found.is_open.sum(axis=1), 20)
        np.testing.assert_array_equal(found.is_candidate.sum(axis=1), 20 if place < 0 else 24)


def test_the_popularity_of_the_last_item_is_that_among_other_users() -> None:
    items = np.array([3, 5, 3, 3, 2], np.int32)
    histories = Histories(np.array([0, 3, 5, 5]), items, ITEMS)  # the first user has item 3 twice, the last nothing
    clues = Clues((), np.bincount(items, minlength=ITEMS))
    scores = np.zeros((3, ITEMS), np.float32) + np.arange(ITEMS, dtype=np.float32)

    def popularity(counted: bool) -> list[float]:
        found = Candidates.of(scores, [scores], clues, histories, np.arange(3), mask_seen=False, counted=counted)
        return np.expm1(found.features[:, 0, -1]).round(4).tolist()

    assert popularity(False) == [3, 1, 0]
    assert popularity(True) == [1, 0, 0]


def test_items_that_are_excluded_are_no_candidates() -> None:
    split, components, clues = world(planted=True)
    users = np.arange(4)
    log_probs = [c.log_probs(np.asarray(c.score(split.train, users))) for c in components]
    log_probs[0][:, 7:] = -np.inf
    found = Candidates.of(log_probs[0], log_probs, clues, split.train, users, mask_seen=False)
    assert found.items[found.is_candidate].max() < 7


def test_a_gain_within_a_standard_error_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that puts one target of many a little higher."""
    split, components, clues = world(planted=False)
    moved = np.zeros(USERS)

    def ranks(params: object, data: object, rows: np.ndarray) -> np.ndarray:
        return np.where(moved[rows] > 0, 1.0, 5.0)

    monkeypatch.setattr(reranker_fitting, "_ranks", ranks)
    monkeypatch.setattr(reranker_fitting, "_ranks_among", lambda scores, is_open, target: np.full(len(target), 5.0))
    moved[3] = 1
    assert fit_blend(components, split, clues=clues).reranker is None
    moved[:40] = 1
    assert fit_blend(components, split, clues=clues).reranker is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored["mean"].__setitem__(0, float("nan")), "not finite"),
        (lambda stored: stored.update(mask_seen="no"), "'no', neither true nor false"),
        (lambda stored: stored["params"].update(hidden=[[1.0], [1.0, 2.0]]), "sequence"),
        (lambda stored: stored["params"]["bias"].pop(), "shapes other than"),
    ],
)
def test_a_damaged_reranker_is_refused(change: Callable[[dict], None], message: str) -> None:
    clues = world(planted=True)[2]
    stored = any_reranker(clues, mask_seen=True).to_dict()
    assert Reranker.from_dict(stored, clues, 2).mask_seen is True
    with pytest.raises(ValueError, match="reads 7 features, and these parts and counts have 9"):
        Reranker.from_dict(stored, clues, 3)
    change(stored)
    with pytest.raises(ValueError, match=message):
        Reranker.from_dict(stored, clues, 2)


def test_somebody_without_a_history_and_a_user_without_any_item_left(few: None) -> None:
    _, components, clues = world(planted=True)
    reranker = any_reranker(clues, mask_seen=True)
    nobody = Histories(np.array([0, 0, ITEMS]), np.arange(ITEMS, dtype=np.int32), ITEMS)
    log_probs = [c.log_probs(np.asarray(c.score(nobody, np.arange(2)))) for c in components]
    assert np.isfinite(reranker.scores(log_probs[0], log_probs, nobody, np.arange(2))).all()
    empty = Histories(np.array([0, 0]), np.zeros(0, np.int32), ITEMS)
    found = Candidates.of(
        log_probs[0][:1], [logs[:1] for logs in log_probs], clues, empty, np.array([0]), mask_seen=True
    )
    assert found.is_open.sum() == 20
    flat = np.full((2, ITEMS), np.log(1 / ITEMS), np.float32)
    scores = reranker.scores(flat, log_probs, nobody, np.arange(2))
    assert (scores == scores[0, 0])[0].all(), "nobody is a candidate where all are tied"


def test_it_is_stored_and_read_as_it_was() -> None:
    _, _, clues = world(planted=False)
    reranker = any_reranker(clues, mask_seen=True)
    again = Reranker.from_dict(json.loads(json.dumps(reranker.to_dict())), clues, 2)
    assert again.to_dict() == reranker.to_dict()
    for name, value in reranker.params.items():
        np.testing.assert_array_equal(again.params[name], value)
