"""Walks against the definition: every step an event, one rating a walk, each choice uniform."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxrec.data.graph import bipartite_graph
from jaxrec.data.walks import scale, scramble, walk
from jaxrec.types import Histories


@pytest.fixture(scope="module")
def events() -> Histories:
    """40 users, 30 items, ratings 1-3; user 39 and item 29 have no event."""
    rng = np.random.default_rng(0)
    counts = np.append(rng.integers(2, 9, 39), 0)
    items = rng.integers(0, 29, counts.sum()).astype(np.int32)
    ratings = rng.integers(1, 4, counts.sum()).astype(np.float32)
    return Histories(np.concatenate([[0], np.cumsum(counts)]), items, 30, ratings)


def test_by_hand() -> None:
    # One user, one item: there is one walk.
    graph = bipartite_graph(Histories(np.array([0, 1]), np.array([0], np.int32), 1))
    np.testing.assert_array_equal(
        walk(graph, jnp.array([0, 1]), 5, key=jax.random.key(0)), [[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    )


def test_every_step_is_an_event_of_the_walks_one_rating(events: Histories) -> None:
    rated: dict[tuple[int, int], set[float]] = {}
    for user, item, rating in zip(events.users, events.items, events.ratings):
        rated.setdefault((int(user), 40 + int(item)), set()).add(float(rating))
    starts = jnp.tile(jnp.arange(70), 5)
    walks = np.asarray(walk(bipartite_graph(events), starts, 12, key=jax.random.key(1)))
    np.testing.assert_array_equal(walks[:, 0], starts)
    for row in walks:
        if row[0] in (39, 69):
            assert (row[1:] == -1).all()
            continue
        possible = [rated[min(a, b), max(a, b)] for a, b in itertools.pairwise(row)]
        assert set.intersection(*possible), "no one rating fits all steps of the walk"


@pytest.mark.parametrize("degree", [3, 7, 30])
def test_neighbours_are_drawn_uniformly(degree: int) -> None:
    graph = bipartite_graph(Histories(np.array([0, degree]), np.arange(degree, dtype=np.int32), degree))
    walks = np.asarray(walk(graph, jnp.zeros(20_000, jnp.int32), 4, key=jax.random.key(degree)))
    for column in (1, 3):
        assert scipy.stats.chisquare(np.bincount(walks[:, column] - 1, minlength=degree)).pvalue > 1e-4
    pairs = np.bincount((walks[:, 1] - 1) * degree + walks[:, 3] - 1, minlength=degree**2)
    assert scipy.stats.chisquare(pairs).pvalue > 1e-4, "steps of a walk are not independent"


def test_the_first_rating_is_that_of_a_uniform_edge() -> None:
    # The user has one item at rating 1 and three at rating 2: rating 2 begins three walks of four.
    graph = bipartite_graph(Histories(np.array([0, 4]), np.arange(4, dtype=np.int32), 4, np.array([1.0, 2, 2, 2])))
    second = np.asarray(walk(graph, jnp.zeros(20_000, jnp.int32), 2, key=jax.random.key(3)))[:, 1]
    assert scipy.stats.chisquare(np.bincount(second - 1, minlength=4)).pvalue > 1e-4


def test_seeded_one_trace_and_the_same_without_jit(events: Histories) -> None:
    graph = bipartite_graph(events)
    starts = jnp.arange(70)
    traced = jax.jit(chex.assert_max_traces(lambda g, s, k: walk(g, s, 6, key=k), n=1))
    first = traced(graph, starts, jax.random.key(0))
    np.testing.assert_array_equal(first, traced(graph, starts, jax.random.key(0)))
    assert (np.asarray(first) != np.asarray(traced(graph, starts, jax.random.key(1)))).any()
    with jax.disable_jit():
        np.testing.assert_array_equal(first, walk(graph, starts, 6, key=jax.random.key(0)))


def test_no_edges_at_all() -> None:
    graph = bipartite_graph(Histories(np.zeros(3, np.int64), np.zeros(0, np.int32), 2))
    np.testing.assert_array_equal(walk(graph, jnp.arange(4), 3, key=jax.random.key(0))[:, 1:], -np.ones((4, 2)))


def test_a_length_below_one_is_refused() -> None:
    graph = bipartite_graph(Histories(np.array([0, 1]), np.array([0], np.int32), 1))
    with pytest.raises(ValueError, match="length=0"):
        walk(graph, jnp.arange(1), 0, key=jax.random.key(0))


def test_scale_is_the_high_word_of_the_product() -> None:
    rng = np.random.default_rng(0)
    bits = np.append(rng.integers(0, 2**32, 1000, dtype=np.uint32), [0, 2**32 - 1]).astype(np.uint32)
    size = np.append(rng.integers(0, 2**31, 1000, dtype=np.uint32), [2**31 - 1, 2**31 - 1]).astype(np.uint32)
    expected = (bits.astype(np.uint64) * size.astype(np.uint64)) >> np.uint64(32)
    np.testing.assert_array_equal(scale(jnp.asarray(bits), jnp.asarray(size)), expected.astype(np.uint32))


def test_scramble_is_uniform_and_collides_nowhere() -> None:
    bits = np.asarray(scramble(jnp.arange(2**16, dtype=jnp.uint32)))
    assert len(np.unique(bits)) == 2**16
    for shift in (0, 12, 24):
        counts = np.bincount((bits >> shift) & 0xFF, minlength=256)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4
