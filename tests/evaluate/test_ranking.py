"""Ranks by hand, against a sort of the whole catalogue, and under every order of tied items."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.evaluate.ranking import metrics, rank_in, rank_of
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
    topk = TopK(jnp.array([[4, 2, 7], [1, -1, -1], [5, 6, 7]], jnp.int32), jnp.zeros((3, 3)))
    np.testing.assert_array_equal(rank_in(topk, jnp.array([7, 2, -1], jnp.int32)), [3.0, np.inf, np.nan])


def test_a_list_of_the_whole_catalogue_ranks_as_the_scores_do() -> None:
    scores = jax.random.normal(jax.random.key(0), (6, 11))
    values, items = jax.lax.top_k(scores, 11)
    target = jnp.arange(6, dtype=jnp.int32)
    np.testing.assert_array_equal(rank_in(TopK(items.astype(jnp.int32), values), target), rank_of(scores, target))


def test_metrics_by_hand() -> None:
    found = metrics(np.array([1, 3, 7, np.inf, np.nan]))
    assert found["hr@5"] == pytest.approx(2 / 4)
    assert found["hr@10"] == found["hr@20"] == pytest.approx(3 / 4)
    assert found["ndcg@5"] == pytest.approx((1 + 1 / 2) / 4)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert found["mrr@5"] == pytest.approx((1 + 1 / 3) / 4)
    assert found["mrr@20"] == pytest.approx((1 + 1 / 3 + 1 / 7) / 4)


def test_a_place_shared_across_the_cutoff_is_a_hit() -> None:
    assert metrics([5.5])["hr@5"] == 1.0
    assert metrics([6.0])["hr@5"] == 0.0


def test_metrics_refuse_what_is_no_rank() -> None:
    with pytest.raises(ValueError, match="no user with a target"):
        metrics([np.nan, np.nan])
    with pytest.raises(ValueError, match="start at 1"):
        metrics([0.0, 2.0])
