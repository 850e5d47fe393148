"""Drawn neighbours beside the edges: sets without repetition, all equally likely, and unbiased sums."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.models.neighbours import Neighbours, draw_neighbours, estimated_product, neighbours
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, product

USERS, ITEMS, WIDTH = 30, 20, 5
Graph = tuple[np.ndarray, Adjacency, Neighbours]


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Edges of 30 users and 20 items; user 28 has every item but one, user 29 none, and nobody has item 19."""
    rng = np.random.default_rng(0)
    users = np.concatenate([rng.integers(0, 28, 200), np.full(ITEMS - 1, 28)])
    items = np.concatenate([rng.integers(0, 19, 200), np.arange(ITEMS - 1)])
    pairs = edges(users, items, ITEMS)
    built = adjacency(pairs, USERS, ITEMS)
    return pairs, *jax.tree.map(jnp.asarray, (built, neighbours(pairs, USERS, built)))


def test_the_lists_hold_every_edge_from_both_ends(graph: Graph) -> None:
    pairs, built, lists = graph
    node = np.full(built.rows, -1)
    node[np.asarray(built.place)] = np.arange(USERS + ITEMS)
    expected: list[set[int]] = [set() for _ in range(USERS + ITEMS)]
    for user, item in pairs:
        expected[user].add(USERS + item)
        expected[USERS + item].add(user)
    for n, row in enumerate(np.asarray(built.place)):
        first, degree = int(lists.first[row]), int(lists.degree[row])
        entries = np.asarray(lists.entries)[first : first + degree]
        assert set(node[entries]) == expected[n]
        assert len(entries) == len(expected[n])
    assert int(lists.degree[-1]) == 0


@pytest.mark.parametrize("most", [1, 15])
def test_sets_without_repetition_of_the_right_size(graph: Graph, most: int) -> None:
    _, built, lists = graph
    rows = jnp.arange(built.rows)
    drawn = np.asarray(draw_neighbours(lists, rows, most, key=jax.random.key(0)))
    assert drawn.shape == (built.rows, most)
    for row in range(built.rows):
        first, degree = int(lists.first[row]), int(lists.degree[row])
        own = set(np.asarray(lists.entries)[first : first + degree])
        real = [entry for entry in drawn[row] if entry != built.rows - 1]
        assert len(real) == len(set(real)) == min(most, degree)
        assert set(real) <= own


def test_every_set_is_equally_likely(graph: Graph) -> None:
    """Chi squared over all 10 sets of 3 of 5 neighbours: 9 degrees of freedom, 27.9 at 0.1%."""
    _, _, lists = graph
    row = int(np.flatnonzero(np.asarray(lists.degree) == 5)[0])
    draw = jax.jit(lambda key: draw_neighbours(lists, jnp.full(4000, row), 3, key=key))
    sets = [tuple(sorted(chosen)) for chosen in np.asarray(draw(jax.random.key(1))).tolist()]
    first = int(lists.first[row])
    own = sorted(np.asarray(lists.entries)[first : first + 5].tolist())
    counts = np.array([sets.count(chosen) for chosen in itertools.combinations(own, 3)])
    assert counts.sum() == 4000
    assert ((counts - 400) ** 2 / 400).sum() < 27.9


def test_with_all_neighbours_the_sum_is_exact(graph: Graph) -> None:
    _, built, lists = graph
    x = arrange(built, np.random.default_rng(1).normal(size=(USERS + ITEMS, WIDTH)).astype(np.float32))
    rows = jnp.arange(built.rows)
    drawn = draw_neighbours(lists, rows, ITEMS + USERS, key=jax.random.key(0))
    actual = estimated_product(built, lists.degree, x, rows, drawn)
    np.testing.assert_allclose(actual, product(built, x), atol=1e-6)


def test_the_estimate_is_unbiased_and_a_snapshot_lowers_its_variance(graph: Graph) -> None:
    """Over 4,000 draws of 3 neighbours; the vectors moved by a tenth of their length since the snapshot."""
    _, built, lists = graph
    rng = np.random.default_rng(2)
    old = rng.normal(size=(USERS + ITEMS, WIDTH)).astype(np.float32)
    new = old + 0.1 * rng.normal(size=old.shape).astype(np.float32)
    snapshot, x = arrange(built, old), arrange(built, new)
    rows = built.place

    @jax.jit
    @jax.vmap
    def estimates(key):
        drawn = draw_neighbours(lists, rows, 3, key=key)
        plain = estimated_product(built, lists.degree, x, rows, drawn)
        corrected = estimated_product(built, lists.degree, x - snapshot, rows, drawn) + product(built, snapshot)[rows]
        return plain, corrected

    exact = np.asarray(product(built, x)[rows])
    few = np.asarray(lists.degree[rows]) <= 3
    variances = []
    for estimated in estimates(jax.random.split(jax.random.key(3), 4000)):
        values = np.asarray(estimated, np.float64)
        error = np.abs(values.mean(0) - exact)
        deviation = values.std(0)
        assert (error <= 5 * deviation / 4000**0.5 + 1e-5).all()
        assert (deviation[few] < 1e-5).all()
        variances.append((deviation[~few] ** 2).mean())
    plain, corrected = variances
    assert plain > 0.01
    assert corrected < 0.02 * plain  # (0.1)^2, doubled for chance


def test_one_trace_and_no_edge(graph: Graph) -> None:
    _, _, lists = graph
    chex.clear_trace_counter()

    def draw(rows, key):
        return draw_neighbours(lists, rows, 3, key=key)

    draw = jax.jit(chex.assert_max_traces(draw, n=1))
    for seed in range(2):
        draw(jnp.arange(4) + seed, jax.random.key(seed))
    empty = adjacency(np.zeros((0, 2), np.int32), 2, 3)
    none = neighbours(np.zeros((0, 2), np.int32), 2, empty)
    assert not none.degree.any()
