"""CID: paths by who is met together, numbers within the last cluster, newcomers by their vectors."""

import pathlib

import jax
import numpy as np
import pytest

from jaxrec.config import Config, IdConfig
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.types import Histories, Vectors

CONFIG = IdConfig(kind="cid", branches=3, leaf=6, spare=4)
USERS, ITEMS = 60, 31


def world(seed: int = 0) -> tuple[Vectors, Histories, np.ndarray]:
    """Users like one of three tastes of ten items; item 30 is never met, item 29 only with a vector."""
    rng = np.random.default_rng(seed)
    taste = np.arange(30) // 10
    rows = []
    for user in range(USERS):
        liked = rng.permutation(10)[:5] + 10 * (user % 3)
        rows.append([i for i in liked.tolist() if i != 29] or [0, 1])
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    histories = Histories(offsets, np.concatenate(rows).astype(np.int32), ITEMS)
    item = np.zeros((ITEMS, 6), np.float32)
    item[:30] = np.eye(6)[taste] + 0.1 * rng.normal(size=(30, 6))
    user = (np.eye(6)[np.arange(USERS) % 3] + 0.1 * rng.normal(size=(USERS, 6))).astype(np.float32)
    return Vectors(user, item), histories, taste


def fitted(vectors: Vectors, histories: Histories, *, unique: bool) -> Ids:
    config = Config(name="test", ids=CONFIG, answer="id" if unique else "vector")
    return fit_ids(IdInputs(vectors, histories, config, jax.random.key(0)))


@pytest.fixture(scope="module", params=[True, False])
def ids(request: pytest.FixtureRequest) -> Ids:
    vectors, histories, _ = world()
    return fitted(vectors, histories, unique=request.param)


def test_tastes_are_branches(ids: Ids) -> None:
    _, _, taste = world()
    top = ids.items.codes.values[:30, 0]
    assert len({(a, b) for a, b in zip(top, taste)}) == 3  # item 29 went with its vector
    assert len({(a, b) for a, b in zip(ids.users.codes.values[:, 0], np.arange(USERS) % 3)}) == 3
    assert ids.items.codes.values.shape[1] == 2 + ids.items.unique
    assert ids.items.codes.sizes[:2] == (3, 3)
    _, counts = np.unique(ids.items.codes.values[:, :2], axis=0, return_counts=True)
    assert counts.max() <= CONFIG.leaf + 1


def test_ids_are_unique_where_they_are_decoded(ids: Ids) -> None:
    if ids.items.unique:
        assert len(np.unique(ids.items.codes.values, axis=0)) == ITEMS
        assert (ids.items.codes.values[:, :2] == ids.items.codes.values[30, :2]).all(1).sum() <= CONFIG.leaf + 1
    with_word, *others = ids.items.codewords()
    assert with_word is not None
    _, _, taste = world()
    for branch in range(3):  # a branch stands for its own taste
        assert with_word[branch].argmax() == taste[np.flatnonzero(ids.items.codes.values[:30, 0] == branch)[0]]
    assert all(other is None or not other.any() for other in others)
    assert "item" in ids.report()


def test_newcomers_join_the_leaf_of_their_like(ids: Ids) -> None:
    _, _, taste = world()
    codes = ids.items.new_codes(2 * np.eye(6)[:3].astype(np.float32), ITEMS + np.arange(3))
    for number in range(3):
        assert codes[number, 0] == ids.items.codes.values[np.flatnonzero(taste == number)[0], 0]
    if ids.items.unique:
        assert len(np.unique(np.concatenate([ids.items.codes.values, codes]), axis=0)) == ITEMS + 3


def test_saved_and_loaded(ids: Ids, tmp_path: pathlib.Path) -> None:
    names = np.arange(USERS).astype(str), np.arange(ITEMS).astype(str)
    ids.save(tmp_path / "ids", *names)
    again = load_ids(tmp_path / "ids", CONFIG, *names)
    np.testing.assert_array_equal(again.items.codes.values, ids.items.codes.values)
    np.testing.assert_array_equal(again.users.codes.values, ids.users.codes.values)
    new = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    one, other = (some.items.new_codes(new, ITEMS + np.arange(5)) for some in (ids, again))
    np.testing.assert_array_equal(one, other)


def test_items_named_otherwise_fall_into_the_same_parts() -> None:
    vectors, histories, _ = world()
    order = np.random.default_rng(4).permutation(ITEMS)
    back = np.argsort(order)
    moved = Histories(histories.offsets, order[histories.items].astype(np.int32), ITEMS)
    one = fitted(vectors, histories, unique=False).items.codes.values
    other = fitted(Vectors(vectors.user, vectors.item[back]), moved, unique=False).items.codes.values
    same = (one[:29, None, 0] == one[None, :29, 0]) == (other[order[:29], None, 0] == other[None, order[:29], 0])
    assert same.all()


def test_nobody_met_is_told() -> None:
    vectors, _, _ = world()
    alone = Histories(np.arange(USERS + 1), np.full(USERS, 3, np.int32), ITEMS)
    with pytest.raises(ValueError, match="no two are met together in the training histories"):
        fitted(vectors, alone, unique=True)
