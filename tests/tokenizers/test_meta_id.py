"""META ID's ids: ranks by distance, unique and invertible, a place for everybody, newcomers included."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.config import IdConfig
from jaxrec.tokenizers.meta_id import MetaIds, _rank, fill_smallest
from jaxrec.types import Vectors

CONFIG = IdConfig(clusters=6, restarts=2, iterations=30, spare=5)


def make_vectors(users: int = 60, items: int = 40, zeros: int = 5, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    user, item = (rng.normal(size=(n, 8)).astype(np.float32) for n in (users, items))
    item[rng.permutation(items)[:zeros]] = 0
    return Vectors(user, item)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return make_vectors()


@pytest.fixture(scope="module", params=["joint", "per_kind"])
def ids(request: pytest.FixtureRequest, vectors: Vectors) -> MetaIds:
    return MetaIds.fit(vectors, dataclasses.replace(CONFIG, ranks=request.param), key=jax.random.key(0))


def cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return 1 - a @ b.T


def test_by_hand() -> None:
    # Two directions; in each the nearer to the mean comes first. Item 2 was never seen.
    user = np.array([[1, 0.0], [0.0, 3]], np.float32)
    item = np.array([[1, 0.2], [1, 0.7], [0, 0]], np.float32)
    ids = MetaIds.fit(Vectors(user, item), dataclasses.replace(CONFIG, clusters=2), key=jax.random.key(1))
    wide, narrow = ids.users.values[0, 0], ids.users.values[1, 0]
    assert wide != narrow
    # Mean direction of the wide cluster is at 15.4 degrees; its members at 0, 11.3 and 35.0.
    np.testing.assert_array_equal(ids.items.values, [[wide, 0], [wide, 2], [narrow, 1]])
    np.testing.assert_array_equal(ids.users.values, [[wide, 1], [narrow, 0]])
    assert ids.items.sizes == (2, 3 + CONFIG.spare)


def test_ids_are_unique_and_below_their_sizes(ids: MetaIds) -> None:
    for codes in (ids.users, ids.items):
        assert len(np.unique(codes.values, axis=0)) == len(codes.values)
        assert (codes.values >= 0).all()
        assert (codes.values < codes.sizes).all()
        assert codes.sizes == ids.users.sizes
    if ids.ranks == "joint":
        assert len(np.unique(np.concatenate([ids.users.values, ids.items.values]), axis=0)) == 100
    largest = max(ids.users.values[:, 1].max(), ids.items.values[:, 1].max())
    assert ids.items.sizes[1] == largest + 1 + CONFIG.spare


def test_clusters_are_nearest_and_ranks_ascend_with_distance(ids: MetaIds, vectors: Vectors) -> None:
    rows = np.concatenate([vectors.user, vectors.item])
    codes = np.concatenate([ids.users.values, ids.items.values])
    known = (rows != 0).any(1)
    distance = cosine_distance(rows[known], ids.centroids)
    codes, kind = codes[known], np.repeat([0, 1], [60, 40])[known]
    own = distance[np.arange(len(codes)), codes[:, 0]]
    assert (own <= distance.min(1) + 1e-6).all()
    for cluster in range(CONFIG.clusters):
        for group in [kind >= 0] if ids.ranks == "joint" else [kind == 0, kind == 1]:
            members = np.flatnonzero((codes[:, 0] == cluster) & group)
            ordered = members[np.argsort(codes[members, 1])]
            np.testing.assert_array_equal(codes[ordered, 1], np.arange(len(members)))
            assert (np.diff(own[ordered]) >= -1e-6).all()


def test_the_unseen_stand_behind_the_members_of_small_clusters(ids: MetaIds, vectors: Vectors) -> None:
    unseen = (vectors.item == 0).all(1)
    assert np.isinf(ids.item_distance[unseen]).all()
    for cluster, rank in ids.items.values[unseen]:
        ranked = ids.items.values[~unseen]
        if ids.ranks == "joint":
            ranked = np.concatenate([ids.users.values, ranked])
        assert rank >= (ranked[:, 0] == cluster).sum()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 30))
def test_latecomers_level_the_clusters(counts: list[int], n: int) -> None:
    codes = fill_smallest(np.array(counts), n)
    grown = list(counts)
    for cluster, rank in codes.tolist():
        assert grown[cluster] == min(grown) == rank
        grown[cluster] += 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 4)), max_size=40))
def test_rank_equals_a_loop(rows: list) -> None:
    cluster, group, distance = np.array(rows, np.int64).reshape(-1, 3).T
    wanted = [
        sum(c == d and g == h and (y, j) < (x, i) for j, (d, h, y) in enumerate(rows))
        for i, (c, g, x) in enumerate(rows)
    ]
    np.testing.assert_array_equal(_rank(cluster, group, distance.astype(np.float32)), wanted)


def test_newcomers_get_free_ranks_nearest_first(ids: MetaIds) -> None:
    new = make_vectors(12, 1, seed=7).user
    codes = ids.encode(new, "user", unique=True)
    both = np.concatenate([ids.users.values, codes])
    assert len(np.unique(both, axis=0)) == len(both)
    distance = cosine_distance(new, ids.centroids)
    np.testing.assert_array_equal(codes[:, 0], distance.argmin(1))
    for cluster in np.unique(codes[:, 0]):
        mine = np.flatnonzero(codes[:, 0] == cluster)
        ordered = mine[np.argsort(codes[mine, 1])]
        assert (np.diff(distance[ordered, cluster]) >= -1e-6).all()
        taken = ids.users.values[ids.users.values[:, 0] == cluster, 1]
        assert codes[ordered[0], 1] > taken.max(initial=-1)


def test_a_full_cluster_says_what_to_do(ids: MetaIds, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match=r"ranks free and 200 newcomers; fit the ids anew with a larger ids\.spare"):
        ids.encode(np.tile(vectors.user[:1], (200, 1)), "user", unique=True)


def test_codes_that_may_coincide_count_the_nearer_members(ids: MetaIds, vectors: Vectors) -> None:
    new = make_vectors(300, 1, seed=9).user
    codes = ids.encode(new, "user", unique=False)
    np.testing.assert_array_equal(codes[:50], ids.encode(new[:50], "user", unique=False))
    np.testing.assert_array_equal(codes, ids.encode(7 * new, "user", unique=False))
    rows, cluster = vectors.user, ids.users.values[:, 0]
    if ids.ranks == "joint":
        known = (vectors.item != 0).any(1)
        rows = np.concatenate([rows, vectors.item[known]])
        cluster = np.concatenate([cluster, ids.items.values[known, 0]])
    theirs = cosine_distance(rows, ids.centroids)[np.arange(len(rows)), cluster]
    distance = cosine_distance(new, ids.centroids)
    nearer = [(theirs[cluster == g] < distance[i, g]).sum() for i, g in enumerate(codes[:, 0])]
    np.testing.assert_array_equal(codes[:, 1], np.minimum(nearer, ids.items.sizes[1] - 1))


def test_members_find_their_own_code(ids: MetaIds, vectors: Vectors) -> None:
    """The vector that an id was made from is encoded to that id, but for ties in single precision."""
    again = ids.encode(vectors.user, "user", unique=False)
    np.testing.assert_array_equal(again[:, 0], ids.users.values[:, 0])
    assert np.abs(again[:, 1] - ids.users.values[:, 1]).max() <= 1


def test_zeros_go_behind_the_smallest_cluster(ids: MetaIds) -> None:
    codes = ids.encode(np.zeros((3, 8), np.float32), "user", unique=False)
    assert (codes == codes[0]).all()
    fresh = ids.encode(np.zeros((3, 8), np.float32), "user", unique=True)
    assert len(np.unique(fresh, axis=0)) == 3
    assert (fresh[:, 0] == codes[0, 0]).all()


def test_no_newcomers(ids: MetaIds) -> None:
    for unique in (True, False):
        assert ids.encode(np.zeros((0, 8), np.float32), "item", unique=unique).shape == (0, 2)


def test_bad_arguments_are_named(ids: MetaIds) -> None:
    with pytest.raises(ValueError, match="kind='brand'"):
        ids.encode(np.zeros((1, 8)), "brand", unique=True)
    with pytest.raises(ValueError, match=r"shape \(1, 3\), wanted \[m, 8\]"):
        ids.encode(np.zeros((1, 3)), "item", unique=True)


def test_equal_keys_give_equal_ids(vectors: Vectors) -> None:
    one, two = (MetaIds.fit(vectors, CONFIG, key=jax.random.key(5)) for _ in range(2))
    np.testing.assert_array_equal(one.users.values, two.users.values)
    np.testing.assert_array_equal(one.items.values, two.items.values)


def test_saved_edited_and_loaded(ids: MetaIds, tmp_path: pathlib.Path) -> None:
    users, items = np.array([f"user {i}" for i in range(60)]), np.array([f"item {i}" for i in range(40)])
    ids.save(tmp_path / "ids", users, items)
    again = MetaIds.load(tmp_path / "ids", users, items)
    np.testing.assert_array_equal(again.users.values, ids.users.values)
    assert (again.items.sizes, again.ranks) == (ids.items.sizes, ids.ranks)
    new = make_vectors(8, 1, seed=3).user
    np.testing.assert_array_equal(again.encode(new, "user", unique=True), ids.encode(new, "user", unique=True))
    lines = (tmp_path / "ids" / "items.txt").read_text().splitlines()
    lines[4] = f"item 4 <Item><CT0><CI{ids.items.sizes[1] - 1}>"
    (tmp_path / "ids" / "items.txt").write_text("\n".join(lines))
    edited = MetaIds.load(tmp_path / "ids", users, items)
    np.testing.assert_array_equal(edited.items.values[4], [0, ids.items.sizes[1] - 1])


def test_rows_take_the_codes_of_newcomers(ids: MetaIds) -> None:
    n = len(ids.items.values)
    new = np.random.default_rng(7).normal(size=(3, 8)).astype(np.float32)
    codes = ids.encode(new, "item", unique=True)
    grown = ids.with_rows("item", np.array([n, n + 1, n + 2]), codes)
    np.testing.assert_array_equal(grown.items.values[n:], codes)
    np.testing.assert_array_equal(grown.items.values[:n], ids.items.values)
    assert len(np.unique(grown.items.values, axis=0)) == n + 3
    more = grown.encode(new, "item", unique=True)  # what the newcomers took is no longer free
    assert not set(map(tuple, more.tolist())) & set(map(tuple, grown.items.values.tolist()))
    moved = ids.with_rows("user", np.array([2]), np.array([[1, 0]], np.int32))
    assert moved.users.values[2].tolist() == [1, 0]
    np.testing.assert_array_equal(np.delete(moved.users.values, 2, 0), np.delete(ids.users.values, 2, 0))
