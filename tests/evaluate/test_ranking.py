"""Ranks by hand, against a sort of the whole catalogue, and under every order of tied items."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.evaluate.ranking import (
    metrics,
    metrics_under_ties,
    rank_and_ties,
    rank_and_ties_in,
    rank_in,
    rank_of,
    user_values,
)
from jaxrec.types import TopK


def rank_by_loop(scores: np.ndarray, target: int, seen: list[int]) -> float:
    """The mean place of the target over both extreme orders of the tied items, from sorted lists."""
    rivals = [float(s) for item, s in enumerate(scores) if item != target and item not in seen]
    first = sorted([*rivals, float(scores[target])], reverse=True).index(float(scores[target]))
    last = len(rivals) - sorted([*rivals, float(scores[target])]).index(float(scores[target]))
    return 1 + (first + last) / 2


def test_by_hand() -> None:
    scores = jnp.array([[0.1, 0.9, 0.5, 0.5, 0.7]] * 4, jnp.float32)
    target = jnp.array([0, 1, 2, -1], jnp.int32)
    np.testing.assert_array_equal(rank_of(scores, target), [5.0, 1.0, 3.5, np.nan])
    seen = jnp.array([[1, 1, -1], [-1, -1, -1], [3, 4, 2], [0, 1, 2]], jnp.int32)
    np.testing.assert_array_equal(rank_of(scores, target, seen), [4.0, 1.0, 2.0, np.nan])


@pytest.mark.parametrize("jit", [True, False])
def test_equals_the_loop(jit: bool) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (40, 30)).astype(np.float32)  # few values, so ties are everywhere
    target = rng.integers(0, 30, 40).astype(np.int32)
    seen = rng.integers(-1, 30, (40, 9)).astype(
        np.int32
    )  # with repeats, padding in the middle, and the target at times
    expected = [rank_by_loop(s, t, set(h.tolist())) for s, t, h in zip(scores, target, seen, strict=True)]
    with jax.disable_jit(not jit):
        np.testing.assert_array_equal(rank_of(scores, target, seen), expected)


def test_ties_are_the_mean_over_all_orders_of_the_tied_items() -> None:
    scores = np.array([2.0, 1.0, 1.0, 1.0, 0.0], np.float32)
    places = [
        1 + sorted(range(5), key=lambda i: (-scores[i], order[i])).index(2)
        for order in itertools.permutations(range(5))
    ]
    assert float(rank_of(scores[None], np.array([2], np.int32))[0]) == np.mean(places)


def test_permuting_the_items_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(8, 20)).astype(np.float32)
    target = rng.integers(0, 20, 8).astype(np.int32)
    seen = rng.integers(0, 20, (8, 5)).astype(np.int32)
    order = rng.permutation(20)
    place = np.argsort(order).astype(np.int32)
    np.testing.assert_array_equal(rank_of(scores, target, seen), rank_of(scores[:, order], place[target], place[seen]))


def test_a_broken_model_never_ranks_first() -> None:
    target = jnp.array([3], jnp.int32)
    assert float(rank_of(jnp.full((1, 9), jnp.nan), target)[0]) == 5.0
    assert float(rank_of(jnp.zeros((1, 9)).at[0, 3].set(jnp.nan), target)[0]) == 9.0
    assert float(rank_of(jnp.full((1, 9), jnp.nan).at[0, 3].set(0.0), target)[0]) == 1.0


def test_traces_once_for_a_shape() -> None:
    fresh = jax.jit(chex.assert_max_traces(rank_of.__wrapped__, n=1))
    for seed in range(3):
        scores = jax.random.normal(jax.random.key(seed), (4, 7))
        fresh(scores, jnp.zeros(4, jnp.int32), jnp.full((4, 2), -1, jnp.int32))
    chex.clear_trace_counter()


def test_place_in_a_list() -> None:
    topk = TopK(jnp.array([[4, 2, 7], [1, -1, -1], [5, 6, 7]], jnp.int32), jnp.array([[3.0, 2.0, 1.0]] * 3))
    np.testing.assert_array_equal(rank_in(topk, jnp.array([7, 2, -1], jnp.int32)), [3.0, np.inf, np.nan])


def test_listed_items_of_one_score_share_their_places() -> None:
    items = jnp.array([[4, 2, 7, 1], [4, 2, 7, -1], [4, 2, 7, 1], [4, 2, 7, 1]], jnp.int32)
    scores = jnp.array([[3.0, 1.0, 1.0, 1.0], [2.0, 2.0, 1.0, -jnp.inf], [jnp.nan] * 4, [1.0] * 4])
    ranks, tied = rank_and_ties_in(TopK(items, scores), jnp.array([7, 2, 7, 9], jnp.int32))
    np.testing.assert_array_equal(ranks, [3.0, 1.5, 3.0, np.inf])
    np.testing.assert_array_equal(tied, [2.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize("jit", [True, False])
def test_lists_of_tied_scores_rank_as_the_scores_do(jit: bool) -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 4, (20, 9)).astype(np.float32)
    target = rng.integers(-1, 9, 20).astype(np.int32)
    items = np.argsort(-scores, axis=1).astype(np.int32)
    topk = TopK(items, np.take_along_axis(scores, items, axis=1))
    with jax.disable_jit(not jit):
        np.testing.assert_array_equal(rank_and_ties_in(topk, target), rank_and_ties(scores, target))


def test_metrics_under_ties_are_those_of_every_order() -> None:
    """Each order of the tied items broken by tiny differences, all ranked again, and the metrics averaged."""
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 3, (7, 5)).astype(np.float32)
    target, seen = rng.integers(0, 5, 7).astype(np.int32), rng.integers(-1, 5, (7, 2)).astype(np.int32)
    broken = [
        metrics(rank_of(scores + 0.01 * np.array(order, np.float32), target, seen), (1, 2, 3))
        for order in itertools.permutations(range(5))
    ]
    ranks, tied = rank_and_ties(scores, target, seen)
    actual = metrics_under_ties(ranks, tied, (1, 2, 3))
    assert np.asarray(tied).max() > 1
    for name in broken[0]:
        assert actual["expected"][name] == pytest.approx(np.mean([b[name] for b in broken]))
    rivals = [np.isin(np.arange(5), s, invert=True) | (np.arange(5) == t) for s, t in zip(seen, target)]
    above = [(row > row[t])[r].sum() for row, t, r in zip(scores, target, rivals)]
    level = [(row == row[t])[r].sum() for row, t, r in zip(scores, target, rivals)]
    assert actual["optimistic"] == metrics(np.array(above) + 1.0, (1, 2, 3))
    assert actual["pessimistic"] == metrics(np.add(above, level).astype(float), (1, 2, 3))


def test_two_items_of_one_score_are_one_hit_at_the_last_place() -> None:
    """Nine items above, two share places 10 and 11: whoever the target is, both together are a hit once."""
    scores = np.array([[9.0] * 9 + [1.0, 1.0, 0.0]] * 2, np.float32)
    ranks, tied = rank_and_ties(scores, np.array([9, 10], np.int32))
    actual = metrics_under_ties(np.append(ranks, np.nan), np.append(tied, np.nan), (10,))
    assert [actual[order]["hr@10"] for order in ("optimistic", "expected", "pessimistic")] == [1.0, 0.5, 0.0]
    unlisted = metrics_under_ties(np.array([np.inf, 1.0]), np.array([0.0, 0.0]), (10,))
    assert [unlisted[order]["hr@10"] for order in ("optimistic", "expected", "pessimistic")] == [0.5, 0.5, 0.5]


def test_a_list_of_the_whole_catalogue_ranks_as_the_scores_do() -> None:
    scores = jax.random.normal(jax.random.key(0), (6, 11))
    values, items = jax.lax.top_k(scores, 11)
    target = jnp.arange(6, dtype=jnp.int32)
    np.testing.assert_array_equal(rank_in(TopK(items.astype(jnp.int32), values), target), rank_of(scores, target))


def test_metrics_by_hand() -> None:
    actual = metrics(np.array([1, 3, 7, np.inf, np.nan]))
    assert actual["hr@5"] == pytest.approx(2 / 4)
    assert actual["hr@10"] == actual["hr@20"] == pytest.approx(3 / 4)
    assert actual["ndcg@5"] == pytest.approx((1 + 1 / 2) / 4)
    assert actual["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert actual["mrr@5"] == pytest.approx((1 + 1 / 3) / 4)
    assert actual["mrr@20"] == pytest.approx((1 + 1 / 3 + 1 / 7) / 4)


def test_a_place_shared_across_the_cutoff_is_a_hit() -> None:
    assert metrics([5.5])["hr@5"] == 1.0
    assert metrics([6.0])["hr@5"] == 0.0


def test_metrics_refuse_what_is_no_rank() -> None:
    with pytest.raises(ValueError, match="no user with a target"):
        metrics([np.nan, np.nan])
    with pytest.raises(ValueError, match="start at 1"):
        metrics([0.0, 2.0])
    for metric in ("precision@10", "hr", "hr@ten"):
        with pytest.raises(ValueError, match="none of hr@k"):
            user_values(np.ones(2), metric)
