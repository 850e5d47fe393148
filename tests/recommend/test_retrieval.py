"""Retrieval equals NumPy's sort over all items: blocks, shards, seen and unknown items, ties."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxrec.recommend import retrieval
from jaxrec.recommend.retrieval import VectorRecommender, nearest_items, nearest_items_sharded, norms_of

# 1e-6: cosines of float32 against float64 over 16 products
TOLERANCE = 1e-6
jitted = jax.jit(nearest_items, static_argnames=("k", "approximate", "block"))
sharded = jax.jit(nearest_items_sharded, static_argnames=("mesh", "k", "block", "approximate"))


def reference(z, items, k, seen=None, allowed=None):
    """All cosines in float64, then a stable sort: lowest item first among equals."""
    z, items = np.asarray(z, np.float64), np.asarray(items, np.float64)
    lengths = np.linalg.norm(items, axis=1)
    scores = z @ items.T / np.maximum(np.linalg.norm(z, axis=1)[:, None] * lengths, 1e-30)
    scores[:, lengths == 0] = -np.inf
    for row, left_out in zip(scores, [] if seen is None else seen):
        row[left_out[left_out >= 0]] = -np.inf
    scores = scores if allowed is None else np.where(allowed, scores, -np.inf)
    actual = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, actual, axis=1)
    return np.where(best > -np.inf, actual, -1), best


def assert_equals_reference(top, z, items, k, seen=None, allowed=None):
    numbers, scores = reference(z, items, k, seen, allowed)
    np.testing.assert_array_equal(top.items, numbers)
    np.testing.assert_allclose(top.scores, scores, atol=TOLERANCE)


@pytest.fixture(scope="module")
def world():
    """Five users, 1000 items of width 16 with a few unknown ones, up to 40 seen items a user."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(1000, 16)).astype(np.float32)
    items[rng.integers(0, 1000, 30)] = 0
    seen = rng.integers(-1, 1000, (5, 40)).astype(np.int32)
    seen[0] = -1
    return rng.normal(size=(5, 16)).astype(np.float32), items, seen


def integers(n_items, users=4, seed=1):
    """Vectors of -1, 0 and 1 scaled to length 1 exactly: products are exact, so that ties are ties."""
    rng = np.random.default_rng(seed)
    axes = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    return rng.choice([-1, 0, 1], (users, 4)).astype(np.float32), axes[rng.integers(0, 8, n_items)]


def test_by_hand() -> None:
    items = np.array([[0, 2], [3, 0], [0, 0], [4, 3], [-1, 0]], np.float32)
    top = nearest_items(np.array([[5, 0]], np.float32), items, 5)
    np.testing.assert_array_equal(top.items, [[1, 3, 0, 4, -1]])
    np.testing.assert_allclose(top.scores, [[1, 0.8, 0, -1, -np.inf]], atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("approximate", [True, False])
@pytest.mark.parametrize("block", [None, 100, 333])
def test_equals_sort(world, block, approximate, masked) -> None:
    z, items, seen = world
    seen = seen if masked else None
    top = jitted(z, items, 20, seen=seen, block=block, approximate=approximate)
    assert_equals_reference(top, z, items, 20, seen)  # approximate too: on CPU its recall is 1
    assert top.items.dtype == jnp.int32
    assert top.scores.dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("approximate", [True, False])
@pytest.mark.parametrize("block", [None, 100, 333])
@pytest.mark.parametrize("share", [0.004, 0.5])
def test_allowed_items_alone(world, share, block, approximate) -> None:
    """Also where fewer are allowed than asked for, and some of them are seen or unknown."""
    z, items, seen = world
    allowed = np.random.default_rng(7).random((5, 1000)) < share
    for left_out in (seen, None):
        top = jitted(z, items, 20, seen=left_out, allowed=allowed, block=block, approximate=approximate)
        assert_equals_reference(top, z, items, 20, left_out, allowed)


@pytest.mark.slow
def test_without_jit_and_with_known_norms(world) -> None:
    z, items, seen = world
    norms = np.linalg.norm(items, axis=1)
    for approximate in (True, False):
        top = nearest_items(z, items, 7, seen=seen, norms=norms, block=128, approximate=approximate)
        assert_equals_reference(top, z, items, 7, seen)


@pytest.mark.slow
@pytest.mark.parametrize("n_items", [1, 7, 8, 65, 129])
def test_every_item_can_be_asked_for(n_items) -> None:
    rng = np.random.default_rng(0)
    z, items = rng.normal(size=(3, 8)), rng.normal(size=(n_items, 8)).astype(np.float32)
    seen = np.array([[0, n_items - 1], [-1, 0], [-1, -1]], np.int32)
    for approximate in (True, False):
        top = jitted(z, items, n_items, seen=seen, block=64, approximate=approximate)
        assert_equals_reference(top, z, items, n_items, seen)


def test_seen_stay_out_where_all_scores_are_negative() -> None:
    """A seen item at score 0, as in released code, would be first."""
    rng = np.random.default_rng(0)
    items = np.abs(rng.normal(size=(200, 8))).astype(np.float32)
    seen = rng.permutation(200)[None, :150].astype(np.int32)
    top = jitted(-np.ones((1, 8), np.float32), items, 60, seen=seen)
    assert not np.isin(top.items, seen).any()
    assert (np.asarray(top.items) >= 0).sum() == 50
    assert (np.asarray(top.scores[top.items >= 0]) < 0).all()
    assert (np.asarray(top.scores[top.items < 0]) == -np.inf).all()


@pytest.mark.parametrize("approximate", [True, False])
def test_ties_are_in_the_order_of_items(approximate) -> None:
    z, items = integers(3000)
    assert_equals_reference(jitted(z, items, 50, block=256, approximate=approximate), z, items, 50)


def test_equal_vectors_tie_wherever_they_stand() -> None:
    rng = np.random.default_rng(3)
    few = rng.normal(size=(7, 13)).astype(np.float32)
    which = rng.integers(0, 7, 2021)
    z = rng.normal(size=(3, 13)).astype(np.float32)
    top = jitted(z, few[which], 100, block=320)
    for row, scores in zip(np.asarray(top.items), reference(z, few, 7)[0]):
        np.testing.assert_array_equal(row, np.concatenate([np.flatnonzero(which == n) for n in scores])[:100])


def test_permuted_items_give_permuted_numbers(world) -> None:
    z, items, seen = world
    order = np.random.default_rng(5).permutation(len(items)).astype(np.int32)
    place = np.argsort(order).astype(np.int32)
    top = jitted(z, items, 20, seen=seen)
    other = jitted(z, items[order], 20, seen=np.where(seen >= 0, place[seen], -1))
    np.testing.assert_array_equal(order[other.items], top.items)


def test_length_does_not_count(world) -> None:
    z, items, seen = world
    lengths = np.random.default_rng(0).uniform(0.1, 10, (1000, 1)).astype(np.float32)
    top, other = jitted(z, items, 20, seen=seen), jitted(3 * z, items * lengths, 20, seen=seen)
    np.testing.assert_array_equal(top.items, other.items)
    np.testing.assert_allclose(top.scores, other.scores, atol=TOLERANCE)


def test_bfloat16_items(world) -> None:
    z, items, seen = world
    stored = jnp.asarray(items, jnp.bfloat16)
    for approximate in (True, False):
        top = jitted(z, stored, 20, seen=seen, approximate=approximate)
        assert_equals_reference(top, z, stored, 20, seen)


def test_zeros_give_no_nan() -> None:
    zeros, some = np.zeros((2, 4), np.float32), np.eye(4, dtype=np.float32)
    top = jitted(zeros, some, 2)  # no direction: every item scores 0
    np.testing.assert_array_equal(top.scores, np.zeros((2, 2)))
    for approximate in (True, False):
        top = jitted(some, np.zeros((70, 4), np.float32), 3, approximate=approximate)
        np.testing.assert_array_equal(top.items, np.full((4, 3), -1))
        np.testing.assert_array_equal(top.scores, np.full((4, 3), -np.inf))


def test_one_trace_for_equal_shapes(world) -> None:
    z, items, seen = world
    chex.clear_trace_counter()
    counted = jax.jit(chex.assert_max_traces(lambda z, items, seen: nearest_items(z, items, 9, seen=seen), n=1))
    counted(z, items, seen)
    counted(-z, items[::-1], seen[::-1])


def test_ten_million_items_fit_a_device_of_16_gb() -> None:
    """By the compiler's count, without allocating: vectors, norms and less than a tenth of all scores."""
    items, scores = 10_000_000 * 64 * 4, 256 * 10_000_000 * 4
    needed = retrieval.search_memory(256, 10_000_000, 64, 20, n_seen=64)
    assert items < needed < min(16e9, items + 10_000_000 * 4 + scores / 10)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 2), (1, 4)])
@pytest.mark.parametrize("n_items", [997, 5])
def test_shards_give_the_same(world, shape, n_items) -> None:
    """997 items and 5 users divide over no mesh; of 5 items over 4 devices, one holds padding alone."""
    mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    z, items, seen = world
    items, seen, k = items[:n_items], np.where(seen < n_items, seen, -1), min(n_items, 20)
    seen[1, 0] = n_items - 1
    assert_equals_reference(sharded(mesh, z, items, k, seen=seen), z, items, k, seen)
    top = sharded(mesh, z, items, k, norms=norms_of(items), block=64, approximate=True)
    assert_equals_reference(top, z, items, k)
    allowed = np.random.default_rng(7).random((5, n_items)) < 0.3
    top = sharded(mesh, z, items, k, seen=seen, allowed=allowed)
    assert_equals_reference(top, z, items, k, seen, allowed)


def test_shards_keep_ties_in_the_order_of_items() -> None:
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    z, items = integers(301)
    assert_equals_reference(sharded(mesh, z, items, 200), z, items, 200)


def test_clear_errors(world) -> None:
    z, items, seen = world
    with pytest.raises(ValueError, match="k=1001 exceeds the 1000 items of this catalogue; lower k"):
        nearest_items(z, items, 1001)
    with pytest.raises(ValueError, match="k=0"):
        nearest_items(z, items, 0)
    with pytest.raises(ValueError, match="one width F"):
        nearest_items(z[:, :3], items, 1)
    with pytest.raises(ValueError, match="with B=5"):
        nearest_items(z, items, 1, seen=seen[:2])
    with pytest.raises(ValueError, match=r"allowed must be bool\[5, 1000\].*got shape \[5, 3\]"):
        nearest_items(z, items, 1, allowed=np.ones((5, 3), bool))
    with pytest.raises(ValueError, match="block=0"):
        nearest_items(z, items, 1, block=0)


def mean_vector(model, source):
    """A model of vectors per token: the mean over a prompt's tokens, 0 where it is empty."""
    mask = (source > 0)[:, :, None]
    return (model[source] * mask).sum(1) / jnp.maximum(mask.sum(1), 1)


@pytest.fixture
def prompts_world(world):
    """A table of 50 tokens, items, 23 prompts of length 0..40, seen items."""
    rng = np.random.default_rng(1)
    _, items, _ = world
    source = rng.integers(1, 50, (23, 40)).astype(np.int32)
    source *= np.arange(40)[None] < rng.integers(1, 41, 23)[:, None]
    seen = rng.integers(-1, 1000, (23, 9)).astype(np.int32)
    return rng.normal(size=(50, 16)).astype(np.float32), items, source, seen


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("shape", [None, (2, 2)])
def test_recommender_equals_one_search_for_all(prompts_world, masked, shape) -> None:
    model, items, source, seen = prompts_world
    items, seen = items[:999], np.minimum(seen, 998) if masked else None
    mesh = shape and jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    recommend = VectorRecommender(model, items, query=mean_vector, batch_users=4, mesh=mesh)
    actual = recommend(source, seen, 10)
    assert type(actual.items) is type(actual.scores) is np.ndarray
    assert_equals_reference(actual, mean_vector(model, source), items, 10, seen)
    allowed = np.random.default_rng(7).random((23, 999)) < 0.3
    some = recommend(source, seen, 10, allowed)
    assert_equals_reference(some, mean_vector(model, source), items, 10, seen, allowed)
    for users in (0, 1, 3):
        few = recommend(source[:users], None if seen is None else seen[:users], 10)
        np.testing.assert_array_equal(few.items, actual.items[:users])


def test_recommender_takes_newer_parameters_and_items_without_compiling(prompts_world) -> None:
    model, items, source, seen = prompts_world
    chex.clear_trace_counter()
    query: Any = chex.assert_max_traces(mean_vector, n=3)  # prompts of up to 16, 32 and 48 tokens
    recommend = VectorRecommender(model, items, query=query, batch_users=4)
    before = recommend(source, seen, 5)
    recommend.model = -model
    assert (recommend(source, seen, 5).items != before.items).any()
    recommend.items = -items
    np.testing.assert_array_equal(recommend(source, seen, 5).items, before.items)


def test_recommender_names_what_is_wrong(prompts_world) -> None:
    model, items, source, seen = prompts_world
    recommend = VectorRecommender(model, items, query=mean_vector)
    with pytest.raises(ValueError, match=r"source must be i32\[B,S\]"):
        recommend(source[0], None, 3)
    with pytest.raises(ValueError, match="with B=23"):
        recommend(source, seen[:2], 3)
    with pytest.raises(ValueError, match=r"items are 0\.\.999"):
        recommend(source, np.full((23, 1), 1000), 3)
    with pytest.raises(ValueError, match="k=1001 exceeds the 1000"):
        recommend(source, None, 1001)
    with pytest.raises(ValueError, match="not finite"):
        VectorRecommender(model, items * np.nan, query=mean_vector)
    with pytest.raises(ValueError, match=r"items must be f32\[I,F\]"):
        VectorRecommender(model, items[0], query=mean_vector)
