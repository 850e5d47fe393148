"""Blends against loops over users and items; what weights may depend on."""

import dataclasses
import math

import numpy as np
import pytest

from jaxrec.evaluate import blend_fitting, blending
from jaxrec.evaluate.blend_fitting import fit_blend, fit_blends
from jaxrec.evaluate.blend_weights import likeliest_weights, search_weights
from jaxrec.evaluate.blending import Blend, Component, evaluate_blends, mix
from jaxrec.evaluate.ranking import metrics
from jaxrec.types import Histories, Split


def component(name: str, scores: np.ndarray, distribution: str = "softmax") -> Component:
    """Scores by user, f32[U,I]."""

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        return scores[users]

    return Component(name, score, None, distribution)


@pytest.fixture
def components(split: Split) -> list[Component]:
    """Two random ones, and one that counts, with ties."""
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, (11, 12)).astype(np.float32)
    return [
        component("a", rng.normal(size=(11, 12)).astype(np.float32)),
        component("b", 0.1 * rng.normal(size=(11, 12)).astype(np.float32)),
        component("counts", counts, "shares"),
    ]


def probabilities(c: Component, user: int) -> list[float]:
    """The component's distribution for a user, by its definition."""
    scores = [float(s) for s in np.asarray(c.score(None, np.array([user])))[0]]  # pyright: ignore[reportArgumentType]
    if c.distribution == "shares":
        return [(s / sum(scores) + c.parameter) / (1 + len(scores) * c.parameter) for s in scores]
    weights = [math.exp(s / c.parameter) for s in scores]
    return [w / sum(weights) for w in weights]


def ranks_by_loop(blend: Blend, weights: tuple[float, ...], split: Split, part: str, mask_seen: bool) -> list[float]:
    """Rank of each user's target: items above it, and half of those level with it; seen items do not compete."""
    ranks = []
    for user, target in enumerate(split.target(part).tolist()):
        if target < 0:
            ranks.append(math.nan)
            continue
        by_component = [probabilities(c, user) for c in blend.components]
        scores = [
            sum(w * math.log(p[item]) for w, p in zip(weights, by_component, strict=True) if w) for item in range(12)
        ]
        seen = set(split.history(part).of(user).tolist()) - {target} if mask_seen else set()
        others = [scores[item] for item in range(12) if item != target and item not in seen]
        above = sum(s > scores[target] + 1e-5 for s in others)
        level = sum(abs(s - scores[target]) <= 1e-5 for s in others)
        ranks.append(1 + above + level / 2)
    return ranks


@pytest.mark.parametrize("mask_seen", [True, False])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_ranks_are_those_of_a_loop(split: Split, components: list[Component], part: str, mask_seen: bool) -> None:
    components = [dataclasses.replace(c, parameter=p) for c, p in zip(components, (0.7, 0.05, 1e-3), strict=True)]
    blend = Blend(tuple(components), (0.5, 0.3, 0.2), 0.0, 10, 0)
    weights = {"all": blend.weights, "counts alone": (0.0, 0.0, 1.0), "two": (0.25, 0.75, 0.0)}
    rows = {name: dataclasses.replace(blend, weights=of_row) for name, of_row in weights.items()}
    rows["b by itself"] = Blend.alone(components[1])
    results = evaluate_blends(rows, split, part, mask_seen=mask_seen, baselines=["two", "b by itself"])
    assert [(r.system, r.baseline, r.blended) for r in results] == [
        ("all", False, True),
        ("counts alone", False, True),
        ("two", True, True),
        ("b by itself", True, False),
    ]
    weights["b by itself"] = (0.0, 1.0, 0.0)
    for result, of_row in zip(results, weights.values(), strict=True):
        np.testing.assert_array_equal(result.ranks, ranks_by_loop(blend, of_row, split, part, mask_seen))


def test_small_batches_give_the_same_ranks(
    split: Split, components: list[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    blend = fit_blend(components, split)
    (whole,) = evaluate_blends({"all": blend}, split, "test")
    monkeypatch.setattr(blending, "BATCH_SCORES", 3 * 12)
    (pieces,) = evaluate_blends({"all": blend}, split, "test")
    np.testing.assert_array_equal(pieces.ranks, whole.ranks)
    assert fit_blend(components, split).tries == blend.tries


def test_weights_are_the_best_tried_and_their_value_is_the_measured_one(
    split: Split, components: list[Component]
) -> None:
    blend = fit_blend(components, split)
    assert blend.users == (split.valid >= 0).sum()
    assert blend.ndcg == max(value for _, value in blend.tries)
    assert sum(blend.weights) == pytest.approx(1, abs=1e-5)
    (measured,) = evaluate_blends({"all": blend}, split, "valid")
    assert metrics(measured.ranks, (10,))["ndcg@10"] == pytest.approx(blend.ndcg, abs=1e-12)
    alone = dict(blend.tries)
    assert {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)} <= set(alone)


@pytest.mark.parametrize("mask_seen", [True, False])
def test_users_whose_targets_are_out_of_reach_count_as_misses_with_all_weights(mask_seen: bool) -> None:
    rng = np.random.default_rng(2)
    n_users, n_items = 40, 90
    rows = np.stack([rng.permutation(n_items)[:6] for _ in range(n_users)]).astype(np.int32)
    train, between = (
        Histories(np.arange(0, part.size + 1, part.shape[1]), part.reshape(-1), n_items)
        for part in (rows[:, :4], rows[:, 4:5])
    )
    split = Split.of(train, rows[:, 4], rows[:, 5], between, "strict")
    scores = rng.normal(size=(n_users, n_items)).astype(np.float32)
    scores[:20, 7] = np.nan
    counts = rng.integers(0, 4, (n_users, n_items)).astype(np.float32)
    components = [component("a", scores), component("b", scores + counts), component("counts", counts, "shares")]
    blend = fit_blend(components, split, mask_seen=mask_seen)
    for weights, value in blend.tries[::7]:
        (measured,) = evaluate_blends(
            {"all": dataclasses.replace(blend, weights=weights)}, split, "valid", mask_seen=mask_seen
        )
        assert metrics(measured.ranks, (10,))["ndcg@10"] == pytest.approx(value, abs=1e-12)


def test_test_items_change_nothing(split: Split, components: list[Component]) -> None:
    blend = fit_blend(components, split, most_users=6, seed=3)
    other_test = np.where(split.test >= 0, (split.test + 5) % 12, -1).astype(np.int32)
    again = fit_blend(components, dataclasses.replace(split, test=other_test), most_users=6, seed=3)
    assert dataclasses.replace(again, components=()) == dataclasses.replace(blend, components=())
    assert [c.parameter for c in again.components] == [c.parameter for c in blend.components]
    assert blend.users == 6


def test_a_component_that_knows_the_answers_gets_all_the_weight(split: Split, components: list[Component]) -> None:
    oracle = np.zeros((11, 12), np.float32)
    oracle[np.arange(11), split.valid] = 1
    blend = fit_blend([*components, component("oracle", oracle)], split)
    assert blend.ndcg == 1
    assert blend.named_weights["oracle"] > 0
    assert blend.to_dict()["validation"] == {
        "metric": "ndcg@10",
        "value": 1.0,
        "users": 10,
        "seed": 0,
        "tries": len(blend.tries),
    }


def test_the_temperature_is_that_of_the_likelihood(split: Split) -> None:
    """Scores that are four times the log-probabilities that targets were drawn by want a temperature near 4."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(4000, 6))
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = np.array([rng.choice(6, p=p) for p in odds])
    halves = [(4 * logits[:2000], target[:2000]), (4 * logits[2000:], target[2000:])]
    assert blend_fitting._parameter(component("a", logits), halves) == pytest.approx(4, rel=0.25)  # of 500 rows


def test_large_catalogues_are_weighted_by_fewer_users(
    split: Split, components: list[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blend_fitting, "KEPT_SCORES", 4 * 3 * 12)
    assert fit_blend(components, split, most_users=0).users == 4


def test_a_weight_of_zero_drops_a_component_even_where_it_is_infinite() -> None:
    first, second = np.array([[1.0, 2.0]], np.float32), np.array([[-np.inf, 0.0]], np.float32)
    np.testing.assert_array_equal(mix([first, second], (1.0, 0.0)), first)
    np.testing.assert_array_equal(mix([first, second], (0.5, 0.5)), [[-np.inf, 1.0]])


def test_the_search_finds_a_maximum_inside_and_keeps_the_first_of_equals() -> None:
    best, tries = search_weights(3, lambda some: [-abs(w[0] - 0.2) - abs(w[1] - 0.5) for w in some])
    assert best == pytest.approx((0.2, 0.5, 0.3), abs=0.05)
    assert len({weights for weights, _ in tries}) == len(tries) < 300
    assert search_weights(2, lambda some: [1.0] * len(some))[0] == (1.0, 0.0)


def test_components_of_a_group_weigh_the_same(split: Split, components: list[Component]) -> None:
    blend = fit_blend(components, split, groups=[[0, 2], [1]])
    assert all(weights[0] == weights[2] for weights, _ in blend.tries)
    assert len({weights[1] for weights, _ in blend.tries}) > 10
    assert all(sum(weights) == pytest.approx(1) for weights, _ in blend.tries)
    assert blend.ndcg == max(value for _, value in blend.tries)
    for weights, value in blend.tries[::5]:
        (measured,) = evaluate_blends({"all": dataclasses.replace(blend, weights=weights)}, split, "valid")
        assert metrics(measured.ranks, (10,))["ndcg@10"] == pytest.approx(value, abs=1e-6)
    one = fit_blend(components, split, groups=[[0, 1, 2]])
    assert one.weights == (1 / 3,) * 3
    assert len(one.tries) == 1
    for wrong in ([[0, 1]], [[0, 1], [1, 2]], [[0, 1, 2], [3]]):
        with pytest.raises(ValueError, match="must hold each of the 3 components once"):
            fit_blend(components, split, groups=wrong)


def test_blends_of_some_components_are_those_that_are_fitted_alone(split: Split, components: list[Component]) -> None:
    rng = np.random.default_rng(4)
    components = [*components, component("d", rng.normal(size=(11, 12)).astype(np.float32))]
    subsets, groups = [[0, 1, 2, 3], [1, 2, 3], [0, 2]], [[0, 3], [1], [2]]
    blends = fit_blends(components, split, subsets, groups=groups)
    for blend, subset, own in zip(blends, subsets, ([[0, 3], [1], [2]], [[2], [0], [1]], [[0], [1]]), strict=True):
        alone = fit_blend([components[m] for m in subset], split, groups=own)
        assert [c.name for c in blend.components] == [c.name for c in alone.components]
        assert dict(blend.tries) == pytest.approx(dict(alone.tries))
        assert (blend.weights, blend.ndcg) == (alone.weights, alone.ndcg)
    with pytest.raises(ValueError, match="two or more"):
        fit_blends(components, split, [[0, 1], [2]])


def test_what_can_not_be_blended_is_refused(split: Split, components: list[Component]) -> None:
    with pytest.raises(ValueError, match="two or more systems of different names; got a"):
        fit_blend(components[:1], split)
    with pytest.raises(ValueError, match="different names; got a, a"):
        fit_blend([components[0], components[0]], split)
    nobody = dataclasses.replace(split, valid=np.full(11, -1, np.int32), test=np.full(11, -1, np.int32))
    with pytest.raises(ValueError, match="nobody has a validation item"):
        fit_blend(components, nobody)
    with pytest.raises(ValueError, match="no user has a target in the test part"):
        evaluate_blends({"all": Blend.alone(components[0])}, nobody, "test")


def test_likeliest_weights_are_those_of_a_grid() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(400, 3, 20))
    logits[0, 0, 3] = -np.inf  # what one component excludes
    logs = (logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))).astype(np.float32)
    truth = 0.6 * logits[:, 0] + 0.9 * logits[:, 1]
    target = np.array([random.choice(20, p=np.exp(row) / np.exp(row).sum()) for row in truth])
    weights = likeliest_weights(logs, target)
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(weights, [0.4, 0.6, 0.0], atol=0.1)

    def nll(a: float, b: float, c: float) -> float:
        mixed = np.tensordot(np.maximum(logs, -1e4).astype(float), [a, b, c], axes=([1], [0]))
        return float((np.log(np.exp(mixed).sum(axis=1)) - mixed[np.arange(400), target]).mean())

    grid = np.linspace(0, 1.5, 16)
    best = min((nll(a, b, c), a, b, c) for a in grid for b in grid for c in grid)[1:]
    np.testing.assert_allclose(weights, np.array(best) / sum(best), atol=0.06)
    assert likeliest_weights(np.zeros((4, 2, 3), np.float32), np.zeros(4, int)) == pytest.approx((0.5, 0.5))


def test_the_search_may_start_between_components() -> None:
    best, tries = search_weights(3, lambda some: [-abs(w[0] - 0.3) - abs(w[1] - 0.3) for w in some], (0.3, 0.3, 0.4))
    assert best == (0.3, 0.3, 0.4)
    assert tries[0] == ((0.3, 0.3, 0.4), 0.0)
