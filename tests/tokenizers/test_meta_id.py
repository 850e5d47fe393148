"""META ID's ids: ranks by distance, unique and invertible, a place for everybody, newcomers included."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.config import Config, IdConfig
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.meta_id import ClusterIds, _rank, fill_smallest
from jaxrec.types import Histories, Vectors

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
def ids(request: pytest.FixtureRequest, vectors: Vectors) -> Ids:
    return fitted(vectors, dataclasses.replace(CONFIG, ranks=request.param))


def fitted(vectors: Vectors, config: IdConfig = CONFIG, seed: int = 0) -> Ids:
    no_events = Histories(np.zeros(len(vectors.user) + 1, np.int64), np.zeros(0, np.int32), len(vectors.item))
    return fit_ids(IdInputs(vectors, no_events, Config(name="test", ids=config), jax.random.key(seed)))


def cluster_ids(ids: Ids, entity: str) -> ClusterIds:
    of_entity = ids.users if entity == "user" else ids.items
    assert isinstance(of_entity, ClusterIds)
    return of_entity


def unique_user_codes(ids: Ids, new: np.ndarray) -> np.ndarray:
    """Codes for new users where no two users may share an id."""
    users = dataclasses.replace(ids.users, unique=True)
    return users.new_codes(new, len(users.codes.values) + np.arange(len(new)), beside=ids.items)


def cosine_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return 1 - a @ b.T


def test_by_hand() -> None:
    # Two directions; in each the nearer to the mean comes first. Item 2 was never seen.
    user = np.array([[1, 0.0], [0.0, 3]], np.float32)
    item = np.array([[1, 0.2], [1, 0.7], [0, 0]], np.float32)
    ids = fitted(Vectors(user, item), dataclasses.replace(CONFIG, clusters=2), seed=1)
    wide, narrow = ids.users.codes.values[0, 0], ids.users.codes.values[1, 0]
    assert wide != narrow
    # Mean direction of the wide cluster is at 15.4 degrees; its members at 0, 11.3 and 35.0.
    np.testing.assert_array_equal(ids.items.codes.values, [[wide, 0], [wide, 2], [narrow, 1]])
    np.testing.assert_array_equal(ids.users.codes.values, [[wide, 1], [narrow, 0]])
    assert ids.items.codes.sizes == (2, 3 + CONFIG.spare)


def test_ids_are_unique_and_below_their_sizes(ids: Ids) -> None:
    for codes in (ids.users.codes, ids.items.codes):
        assert len(np.unique(codes.values, axis=0)) == len(codes.values)
        assert (codes.values >= 0).all()
        assert (codes.values < codes.sizes).all()
        assert codes.sizes == ids.users.codes.sizes
    if cluster_ids(ids, "item").joint:
        assert len(np.unique(np.concatenate([ids.users.codes.values, ids.items.codes.values]), axis=0)) == 100
    largest = max(ids.users.codes.values[:, 1].max(), ids.items.codes.values[:, 1].max())
    assert ids.items.codes.sizes[1] == largest + 1 + CONFIG.spare


def test_clusters_are_nearest_and_ranks_ascend_with_distance(ids: Ids, vectors: Vectors) -> None:
    rows = np.concatenate([vectors.user, vectors.item])
    codes = np.concatenate([ids.users.codes.values, ids.items.codes.values])
    known = (rows != 0).any(1)
    distance = cosine_distance(rows[known], cluster_ids(ids, "item").centroids)
    codes, kind = codes[known], np.repeat([0, 1], [60, 40])[known]
    own = distance[np.arange(len(codes)), codes[:, 0]]
    assert (own <= distance.min(1) + 1e-6).all()
    for cluster in range(CONFIG.clusters):
        for group in [kind >= 0] if cluster_ids(ids, "item").joint else [kind == 0, kind == 1]:
            members = np.flatnonzero((codes[:, 0] == cluster) & group)
            ordered = members[np.argsort(codes[members, 1])]
            np.testing.assert_array_equal(codes[ordered, 1], np.arange(len(members)))
            assert (np.diff(own[ordered]) >= -1e-6).all()


def test_the_unseen_stand_behind_the_members_of_small_clusters(ids: Ids, vectors: Vectors) -> None:
    unseen = (vectors.item == 0).all(1)
    assert np.isinf(cluster_ids(ids, "item").distance[unseen]).all()
    for cluster, rank in ids.items.codes.values[unseen]:
        ranked = ids.items.codes.values[~unseen]
        if cluster_ids(ids, "item").joint:
            ranked = np.concatenate([ids.users.codes.values, ranked])
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
    expected = [
        sum(c == d and g == h and (y, j) < (x, i) for j, (d, h, y) in enumerate(rows))
        for i, (c, g, x) in enumerate(rows)
    ]
    np.testing.assert_array_equal(_rank(cluster, group, distance.astype(np.float32)), expected)


def test_newcomers_get_free_ranks_nearest_first(ids: Ids) -> None:
    new = make_vectors(12, 1, seed=7).user
    codes = unique_user_codes(ids, new)
    both = np.concatenate([ids.users.codes.values, codes])
    assert len(np.unique(both, axis=0)) == len(both)
    distance = cosine_distance(new, cluster_ids(ids, "item").centroids)
    np.testing.assert_array_equal(codes[:, 0], distance.argmin(1))
    for cluster in np.unique(codes[:, 0]):
        mine = np.flatnonzero(codes[:, 0] == cluster)
        ordered = mine[np.argsort(codes[mine, 1])]
        assert (np.diff(distance[ordered, cluster]) >= -1e-6).all()
        taken = ids.users.codes.values[ids.users.codes.values[:, 0] == cluster, 1]
        assert codes[ordered[0], 1] > taken.max(initial=-1)


def test_a_full_cluster_says_what_to_do(ids: Ids, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match=r"ranks free and 200 newcomers; fit the ids anew with a larger ids\.spare"):
        unique_user_codes(ids, np.tile(vectors.user[:1], (200, 1)))


def test_codes_that_may_coincide_count_the_nearer_members(ids: Ids, vectors: Vectors) -> None:
    new = make_vectors(300, 1, seed=9).user
    codes = ids.user_codes(new).values
    np.testing.assert_array_equal(codes[:50], ids.user_codes(new[:50]).values)
    np.testing.assert_array_equal(codes, ids.user_codes(7 * new).values)
    rows, cluster = vectors.user, ids.users.codes.values[:, 0]
    if cluster_ids(ids, "item").joint:
        known = (vectors.item != 0).any(1)
        rows = np.concatenate([rows, vectors.item[known]])
        cluster = np.concatenate([cluster, ids.items.codes.values[known, 0]])
    theirs = cosine_distance(rows, cluster_ids(ids, "item").centroids)[np.arange(len(rows)), cluster]
    distance = cosine_distance(new, cluster_ids(ids, "item").centroids)
    nearer = [(theirs[cluster == g] < distance[i, g]).sum() for i, g in enumerate(codes[:, 0])]
    np.testing.assert_array_equal(codes[:, 1], np.minimum(nearer, ids.items.codes.sizes[1] - 1))


def test_members_find_their_own_code(ids: Ids, vectors: Vectors) -> None:
    """The vector that an id was made from is encoded to that id, but for ties in single precision."""
    again = ids.user_codes(vectors.user).values
    np.testing.assert_array_equal(again[:, 0], ids.users.codes.values[:, 0])
    assert np.abs(again[:, 1] - ids.users.codes.values[:, 1]).max() <= 1


def test_zeros_go_behind_the_smallest_cluster(ids: Ids) -> None:
    codes = ids.user_codes(np.zeros((3, 8), np.float32)).values
    assert (codes == codes[0]).all()
    fresh = unique_user_codes(ids, np.zeros((3, 8), np.float32))
    assert len(np.unique(fresh, axis=0)) == 3
    assert (fresh[:, 0] == codes[0, 0]).all()


def test_no_newcomers(ids: Ids) -> None:
    nobody = np.zeros((0, 8), np.float32)
    assert ids.items.new_codes(nobody, np.zeros(0, np.int64), beside=ids.users).shape == (0, 2)
    assert ids.items.codes_of(nobody, beside=ids.users).shape == (0, 2)


def test_bad_arguments_are_named(ids: Ids) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \[m, 8\]"):
        ids.items.new_codes(np.zeros((1, 3)), np.array([40]), beside=ids.users)
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \[m, 2\] for users"):
        ids.users.with_rows(np.array([2]), np.zeros((1, 3), np.int32))
    with pytest.raises(ValueError, match="from 6 to 6, expected 0 to below"):
        ids.items.with_rows(np.array([2]), np.full((1, 2), 6))
    with pytest.raises(ValueError, match="an id of items stands twice"):
        ids.items.with_rows(np.array([2]), ids.items.codes.values[:1])


def test_equal_keys_give_equal_ids(vectors: Vectors) -> None:
    one, two = (fitted(vectors, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.users.codes.values, two.users.codes.values)
    np.testing.assert_array_equal(one.items.codes.values, two.items.codes.values)


def test_saved_edited_and_loaded(ids: Ids, tmp_path: pathlib.Path) -> None:
    users, items = np.array([f"user {i}" for i in range(60)]), np.array([f"item {i}" for i in range(40)])
    ids.save(tmp_path / "ids", users, items)
    again = load_ids(tmp_path / "ids", CONFIG, users, items)
    np.testing.assert_array_equal(again.users.codes.values, ids.users.codes.values)
    assert again.items.codes.sizes == ids.items.codes.sizes
    assert cluster_ids(again, "user").joint == cluster_ids(ids, "user").joint
    new = make_vectors(8, 1, seed=3).user
    np.testing.assert_array_equal(unique_user_codes(again, new), unique_user_codes(ids, new))
    lines = (tmp_path / "ids" / "items.txt").read_text().splitlines()
    lines[4] = f"item 4 <Item><CT0><CI{ids.items.codes.sizes[1] - 1}>"
    (tmp_path / "ids" / "items.txt").write_text("\n".join(lines))
    edited = load_ids(tmp_path / "ids", CONFIG, users, items)
    np.testing.assert_array_equal(edited.items.codes.values[4], [0, ids.items.codes.sizes[1] - 1])


def test_rows_take_the_codes_of_newcomers(ids: Ids) -> None:
    n = len(ids.items.codes.values)
    new = np.random.default_rng(7).normal(size=(3, 8)).astype(np.float32)
    codes = ids.items.new_codes(new, np.array([n, n + 1, n + 2]), beside=ids.users)
    grown = ids.with_items(np.array([n, n + 1, n + 2]), new)
    np.testing.assert_array_equal(grown.items.codes.values[n:], codes)
    np.testing.assert_array_equal(grown.items.codes.values[:n], ids.items.codes.values)
    assert len(np.unique(grown.items.codes.values, axis=0)) == n + 3
    more = grown.items.new_codes(
        new, n + 3 + np.arange(3), beside=grown.users
    )  # what the newcomers took is no longer free
    assert not set(map(tuple, more.tolist())) & set(map(tuple, grown.items.codes.values.tolist()))
    moved = ids.users.with_rows(np.array([2]), np.array([[1, 0]], np.int32))
    assert moved.codes.values[2].tolist() == [1, 0]
    np.testing.assert_array_equal(np.delete(moved.codes.values, 2, 0), np.delete(ids.users.codes.values, 2, 0))
