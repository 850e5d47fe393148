"""Diversity and memorization against loops over pairs that follow the paper's sums as printed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxrec.evaluate import memorization as memorization_module
from jaxrec.evaluate.diversity import divergences, diversity, diversity_of_all, draw_pairs
from jaxrec.evaluate.memorization import RatingSimilarity, fast_memorization, memorization
from jaxrec.types import Histories

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(30, 7)).astype(np.float32)


def world(*, rated: bool, seed: int = 1, users: int = 12, items: int = 30) -> Histories:
    rng = np.random.default_rng(seed)
    rows = [rng.choice(items - 1, rng.integers(1, 9), replace=False) for _ in range(users)]  # the last has no event
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    ratings = rng.integers(1, 6, offsets[-1]).astype(np.float32) if rated else None
    return Histories(offsets, np.concatenate(rows).astype(np.int32), items, ratings)


def ratings_of(histories: Histories) -> np.ndarray:
    """R as a matrix with NaN where there is no rating; 0 and 1 where nobody rates."""
    empty = 0.0 if histories.ratings is None else np.nan
    table = np.full((histories.n_users, histories.n_items), empty)
    for user in range(histories.n_users):
        for event in range(histories.offsets[user], histories.offsets[user + 1]):
            rating = 1.0 if histories.ratings is None else histories.ratings[event]
            table[user, histories.items[event]] = rating
    return table


def adjusted_cosine(table: np.ndarray, i: int, j: int) -> float:
    """Eq. (4) as printed, for two columns."""
    above, left, right = 0.0, 0.0, 0.0
    for row in table:
        mean = 0.0 if np.isnan(row).all() else np.nanmean(row)
        one = 0.0 if np.isnan(row[i]) else row[i] - mean
        other = 0.0 if np.isnan(row[j]) else row[j] - mean
        above, left, right = above + one * other, left + one**2, right + other**2
    return above / np.sqrt(left * right) if left * right > 1e-12 else np.nan


def memorization_by_loops(vectors: np.ndarray, table: np.ndarray) -> float:
    """1 - eq. (5), without the pairs that have no similarity."""
    terms = []
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            similar = adjusted_cosine(table, i, j)
            if np.isfinite(similar):
                cosine = vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
                terms.append((cosine - similar) ** 2)
    return 1 - float(np.mean(terms))


@pytest.mark.parametrize("kind", ["item", "user"])
def test_a_rating_that_is_held_back_is_none(kind) -> None:
    rng = np.random.default_rng(5)
    items = np.concatenate([rng.permutation(8)[:5] for _ in range(12)]).astype(np.int32)
    ratings, hidden = rng.integers(1, 6, 60).astype(np.float32), rng.random(60) < 0.3
    held = RatingSimilarity.of(Histories(np.arange(0, 61, 5), items, 8, np.where(hidden, np.nan, ratings)), kind)
    counts = np.bincount(np.repeat(np.arange(12), 5)[~hidden], minlength=12)
    absent = Histories(np.concatenate([[0], np.cumsum(counts)]), items[~hidden], 8, ratings[~hidden])
    expected = RatingSimilarity.of(absent, kind)
    np.testing.assert_array_equal(held.rows, expected.rows)
    np.testing.assert_allclose(held.between(), expected.between(), atol=1e-6)


def test_divergence_by_hand() -> None:
    # Shares (1/4, 3/4) and (1/2, 1/2): KL one way 0.1308, the other 0.1438.
    rows = jnp.log(jnp.array([[1.0, 3.0], [5.0, 5.0]]))
    actual = divergences(rows, jnp.array([[0, 1], [1, 0], [1, 1]]))
    expected = (0.25 * np.log(0.5) + 0.75 * np.log(1.5) + 0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2
    np.testing.assert_allclose(actual, [expected, expected, 0], atol=1e-6)


def test_diversity_of_all_pairs_is_their_mean(vectors: np.ndarray) -> None:
    shares = scipy.special.softmax(vectors.astype(np.float64), axis=1)
    terms = [
        (scipy.stats.entropy(shares[i], shares[j]) + scipy.stats.entropy(shares[j], shares[i])) / 2
        for i in range(30)
        for j in range(30)
        if i != j
    ]
    np.testing.assert_allclose(diversity_of_all(vectors), np.mean(terms), rtol=1e-5)
    pairs = np.array([(i, j) for i in range(30) for j in range(30) if i != j], np.int32)
    np.testing.assert_allclose(divergences(vectors, pairs), terms, rtol=1e-4)
    sampled = diversity(vectors, pairs=20_000, key=KEY)
    assert abs(sampled.score - np.mean(terms)) < 4 * sampled.error
    np.testing.assert_allclose(sampled.error, np.std(terms) / np.sqrt(20_000), rtol=0.05)


def test_the_curve_ends_at_the_score_and_tightens(vectors: np.ndarray) -> None:
    actual = diversity(vectors, pairs=3000, key=KEY)
    assert actual.sizes.tolist() == [10, 20, 50, 100, 200, 500, 1000, 2000, 3000]
    assert (actual.curve[-1], actual.errors[-1]) == (actual.score, actual.error)
    np.testing.assert_allclose(actual.errors * np.sqrt(actual.sizes), actual.error * np.sqrt(3000), rtol=0.5)
    assert (np.abs(actual.curve - actual.score) <= 4 * actual.errors).all()
    values = np.asarray(divergences(vectors, draw_pairs(30, 3000, key=KEY)), np.float64)
    np.testing.assert_allclose(actual.curve[4], values[:200].mean(), rtol=1e-6)
    np.testing.assert_allclose(actual.errors[4], scipy.stats.sem(values[:200]), rtol=1e-6)


def test_pairs_are_of_two_and_even() -> None:
    pairs = np.asarray(draw_pairs(4, 12_000, key=KEY))
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 12
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert abs(counts - 1000).max() < 150


def test_what_diversity_does_not_see(vectors: np.ndarray) -> None:
    order = np.random.default_rng(2).permutation(30)
    one = diversity_of_all(vectors)
    np.testing.assert_allclose(diversity_of_all(vectors[order]), one, rtol=1e-5)
    np.testing.assert_allclose(diversity_of_all(vectors + 5), one, rtol=1e-4)  # a softmax sees no constant
    assert diversity_of_all(3 * vectors) > one > diversity_of_all(0.1 * vectors)
    assert float(diversity_of_all(np.tile(vectors[:1], (9, 1)))) < 1e-6


@pytest.mark.parametrize("rated", [True, False])
@pytest.mark.parametrize("kind", ["item", "user"])
def test_memorization_equals_the_sums_as_printed(vectors: np.ndarray, rated: bool, kind: str) -> None:
    histories = world(rated=rated)
    table = ratings_of(histories)
    table, rows = (table, vectors) if kind == "item" else (table.T, vectors[:12])
    truth = RatingSimilarity.of(histories, kind)
    n = len(rows)
    expected = np.array([[adjusted_cosine(table, i, j) for j in range(n)] for i in range(n)])
    known = np.isfinite(expected.diagonal())
    np.testing.assert_array_equal(truth.rows, np.flatnonzero(known))
    np.testing.assert_allclose(truth.between(), expected[np.ix_(known, known)], atol=1e-6)
    np.testing.assert_allclose(truth.between(slice(2, 5)), truth.between()[2:5], atol=1e-7)
    np.testing.assert_allclose(memorization(rows, truth), memorization_by_loops(rows, table), atol=1e-5)


def test_memorization_by_hand() -> None:
    # User 0 gives 1, 3, 5, user 1 gives 4, 2 to items 0, 1, 2 and 0, 1: deviations (-2, 0, 2) and (1, -1).
    histories = Histories(
        np.array([0, 3, 5]), np.array([0, 1, 2, 0, 1], np.int32), 3, np.array([1, 3, 5, 4, 2], np.float32)
    )
    truth = RatingSimilarity.of(histories)
    a = 1 / np.sqrt(5)
    np.testing.assert_allclose(truth.between(), [[1, -a, -2 * a], [-a, 1, 0], [-2 * a, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(truth.of_raters, [[-1, -1, 2], [5, 1, 4]], atol=1e-12)
    apart = np.eye(3, dtype=np.float32)  # all cosines are 0, so what is left are the similarities' squares
    np.testing.assert_allclose(memorization(apart, truth), 1 - (1 / 5 + 4 / 5 + 0) / 3, atol=1e-6)
    # sim' = a_i a_j with a = (-1/sqrt 5, -1, 1): 1/5, 1/5 and 1.
    expected = 1 - ((1 / np.sqrt(5)) ** 2 + (1 / np.sqrt(5)) ** 2 + 1) / 3
    np.testing.assert_allclose(fast_memorization(apart, truth), expected, atol=1e-6)


@pytest.mark.parametrize("rated", [True, False])
def test_the_fast_form_equals_its_sum_over_pairs(vectors: np.ndarray, rated: bool) -> None:
    histories = world(rated=rated)
    truth, table = RatingSimilarity.of(histories), ratings_of(histories)
    deviations = np.nan_to_num(table - np.nanmean(table, axis=1, keepdims=True))
    deviations[table == 0] = 0  # U_i of eq. (13): those who took the item
    dev, square = deviations.sum(0), np.maximum((deviations**2).sum(0), 1e-9)
    terms = [
        (
            vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
            - dev[i] * dev[j] / np.sqrt(square[i] * square[j])
        )
        ** 2
        for i in truth.rows
        for j in truth.rows
        if i < j
    ]
    np.testing.assert_allclose(fast_memorization(vectors, truth), 1 - np.mean(terms), rtol=1e-4)


def test_fast_and_exact_are_one_where_one_user_rates(vectors: np.ndarray) -> None:
    """With one rater a sum of products is the product of sums; with more it is not, and sim' leaves [-1, 1]."""
    one = Histories(np.array([0, 5]), np.arange(5, dtype=np.int32), 5, np.array([1, 2, 4, 5, 5], np.float32))
    truth = RatingSimilarity.of(one)
    np.testing.assert_allclose(fast_memorization(vectors[:5], truth), memorization(vectors[:5], truth), atol=1e-5)
    many = Histories(np.arange(0, 28, 3), np.tile(np.arange(3, dtype=np.int32), 9), 3, np.tile([5.0, 5, 1], 9))
    truth = RatingSimilarity.of(many)
    sums, squares = truth.of_raters
    a = sums / np.sqrt(squares)
    np.testing.assert_allclose(np.abs(a), 3)  # the root of nine raters
    np.testing.assert_allclose(truth.between(), np.outer(a, a) / 9, atol=1e-6)


def test_memorization_sees_directions_alone_and_no_order(vectors: np.ndarray) -> None:
    histories = world(rated=True)
    score = memorization(vectors, RatingSimilarity.of(histories))
    lengths = np.random.default_rng(3).uniform(0.5, 2, (30, 1)).astype(np.float32)
    np.testing.assert_allclose(memorization(lengths * vectors, RatingSimilarity.of(histories)), score, rtol=1e-5)
    order = np.random.default_rng(4).permutation(30)
    moved = Histories(histories.offsets, order[histories.items].astype(np.int32), 30, histories.ratings)
    np.testing.assert_allclose(memorization(vectors[np.argsort(order)], RatingSimilarity.of(moved)), score, rtol=1e-5)


def test_deviations_themselves_are_remembered_whole() -> None:
    histories = world(rated=True)
    table = ratings_of(histories)
    deviations = np.nan_to_num(table - np.nanmean(table, axis=1, keepdims=True)).T.astype(np.float32)
    np.testing.assert_allclose(memorization(deviations, RatingSimilarity.of(histories)), 1, atol=1e-9)


def test_more_rows_than_a_block(monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray) -> None:
    truth = RatingSimilarity.of(world(rated=True))
    whole = memorization(vectors, truth)
    jax.clear_caches()
    monkeypatch.setattr(memorization_module, "BLOCK", 8)
    np.testing.assert_allclose(memorization(vectors, truth), whole, rtol=1e-6)
    jax.clear_caches()


def test_repeated_events_count_once() -> None:
    once = Histories(np.array([0, 2, 4]), np.array([0, 1, 0, 1], np.int32), 2, np.array([2, 4, 5, 1], np.float32))
    twice = Histories(
        np.array([0, 3, 5]), np.array([0, 1, 0, 0, 1], np.int32), 2, np.array([1, 4, 3, 5, 1], np.float32)
    )
    np.testing.assert_allclose(RatingSimilarity.of(once).between(), RatingSimilarity.of(twice).between())


def test_traced_once(vectors: np.ndarray) -> None:
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(divergences.__wrapped__, n=1))
    for seed in range(3):
        traced(vectors, draw_pairs(30, 64, key=jax.random.key(seed)))
    zeros = np.zeros((memorization_module.BLOCK, 30), np.float32)
    with jax.disable_jit():
        plain = memorization_module._squared_difference(
            vectors, np.zeros((memorization_module.BLOCK, 30), np.float32), 0
        )
    jitted = memorization_module._squared_difference(vectors, zeros, 0)
    np.testing.assert_allclose(plain, jitted, rtol=1e-5)


def test_too_few_are_told(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="1 ids and pairs=9: at least two of each are needed"):
        diversity(vectors[:1], pairs=9, key=KEY)
    alike = Histories(np.array([0, 2]), np.array([0, 1], np.int32), 2, np.array([3, 3], np.float32))
    with pytest.raises(ValueError, match="0 entities have ratings that differ"):
        memorization(vectors[:2], RatingSimilarity.of(alike))
