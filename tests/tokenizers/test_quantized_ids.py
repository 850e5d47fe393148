"""Quantized ids: unique where asked, kept through files, given to newcomers with everything frozen."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from jaxrec.config import QuantizerConfig
from jaxrec.progress import messages_to
from jaxrec.tokenizers.quantized_ids import QuantizedIds, _numbers
from jaxrec.types import Vectors

CONFIG = QuantizerConfig(codebooks=2, codewords=4, width=8, hidden=(16,), batch=32, epochs=20, learning_rate=3e-3)
USERS, ITEMS = 66, 70  # as many users as items that are not zeros: one compilation for both
USER_NAMES = np.array([f"user {i}" for i in range(USERS)])
ITEM_NAMES = np.array([f"item {i}" for i in range(ITEMS)])


def make_vectors(users: int = USERS, items: int = ITEMS, zeros: int = 4, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    user, item = (rng.normal(size=(n, 6)).astype(np.float32) for n in (users, items))
    item[rng.permutation(items)[:zeros]] = 0
    return Vectors(user, item)


def fit(vectors: Vectors, kind: str = "mq", unique: bool = True, seed: int = 0, **options) -> QuantizedIds:
    options = {"spare": 5, **options}
    return QuantizedIds.fit(vectors, kind, CONFIG, key=jax.random.key(seed), unique=unique, **options)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return make_vectors()


@pytest.fixture(scope="module")
def ids(vectors: Vectors) -> QuantizedIds:
    return fit(vectors)


@pytest.fixture(scope="module", params=["rq_vae", "vq_vae", "kmeans"])
def of_any_kind(request: pytest.FixtureRequest, vectors: Vectors) -> QuantizedIds:
    return fit(vectors, request.param)


def check_table(ids: QuantizedIds, vectors: Vectors, books: int) -> None:
    assert ids.users.levels == ("<U1-{}>", "<U2-{}>")[:books]
    assert ids.items.levels == (*("<V1-{}>", "<V2-{}>")[:books], "<V+{}>")
    words = 4 if books == 2 else 8
    assert ids.users.sizes == (words,) * books
    # 70 items share 16 or 8 codes: there are collisions, and the last level sets them apart.
    codes, number = ids.items.values[:, :-1], ids.items.values[:, -1]
    assert len(np.unique(ids.items.values, axis=0)) == ITEMS > len(np.unique(codes, axis=0))
    _, holders = np.unique(codes, axis=0, return_counts=True)
    assert ids.items.sizes == (*(words,) * books, holders.max() + 5)
    for code in np.unique(codes, axis=0):
        own = np.flatnonzero((codes == code).all(1))
        assert sorted(number[own]) == list(range(len(own)))
        rebuilt = ids.item_quantizer.decode(codes[own])
        distance = ((vectors.item[own].astype(np.float64) - rebuilt) ** 2).sum(1)
        distance[(vectors.item[own] == 0).all(1)] = np.inf
        ordered = distance[np.argsort(number[own])]
        assert (ordered[1:] >= ordered[:-1] - 1e-5).all()
    np.testing.assert_array_equal(ids.encode(vectors.item, "item", unique=False), codes)
    np.testing.assert_array_equal(ids.encode(vectors.user, "user", unique=False), ids.users.values)


def test_items_are_unique_users_may_coincide(ids: QuantizedIds, vectors: Vectors) -> None:
    check_table(ids, vectors, books=2)
    assert len(np.unique(ids.users.values, axis=0)) <= 16 < USERS


def test_every_kind_gives_a_table(of_any_kind: QuantizedIds, vectors: Vectors) -> None:
    check_table(of_any_kind, vectors, books=2 if of_any_kind.item_quantizer.kind == "rq_vae" else 1)


def test_numbers_by_hand() -> None:
    codes = np.array([[1, 2], [0, 2], [1, 2], [1, 2], [0, 2]])
    np.testing.assert_array_equal(_numbers(codes, np.array([3.0, 0.5, np.inf, 1.0, 0.5])), [1, 0, 2, 0, 1])


def test_without_unique_there_is_no_last_level(vectors: Vectors) -> None:
    ids = fit(vectors, "kmeans", unique=False)
    assert ids.items.levels == ("<V1-{}>",)
    with pytest.raises(ValueError, match="made without; ask with unique=False"):
        ids.encode(vectors.item[:1], "item", unique=True)


def test_newcomers_get_free_numbers(ids: QuantizedIds, vectors: Vectors) -> None:
    new = np.concatenate([make_vectors(1, 3, zeros=0, seed=9).item, vectors.item[:2]])
    codes = ids.encode(new, "item", unique=True)
    grown = ids.with_rows("item", ITEMS + np.arange(5), codes)
    assert grown.items.values.shape == (ITEMS + 5, 3)
    assert len(np.unique(grown.items.values, axis=0)) == ITEMS + 5
    np.testing.assert_array_equal(grown.items.values[:ITEMS], ids.items.values)
    np.testing.assert_array_equal(codes[:, :2], ids.encode(new, "item", unique=False))
    # Two copies of items that are there: the same codes, the lowest number that nobody has.
    np.testing.assert_array_equal(codes[3:, :2], ids.items.values[:2, :2])
    for code in codes[3:]:
        holders = grown.items.values[(grown.items.values[:, :2] == code[:2]).all(1), 2]
        assert sorted(holders) == list(range(len(holders)))
    users = ids.with_rows("user", USERS + np.arange(2), ids.users.values[:2])
    np.testing.assert_array_equal(users.users.values, np.concatenate([ids.users.values, ids.users.values[:2]]))
    moved = ids.with_rows("item", np.array([7, ITEMS]), codes[:2])  # one that was there, one that was not
    np.testing.assert_array_equal(moved.items.values[[7, ITEMS]], codes[:2])
    others = np.delete(np.arange(ITEMS), 7)
    np.testing.assert_array_equal(moved.items.values[others], ids.items.values[others])


def test_the_nearest_newcomer_comes_first(ids: QuantizedIds, vectors: Vectors) -> None:
    row, code = vectors.item[:1], ids.items.values[:1, :2]
    away = row - ids.item_quantizer.decode(code)
    rows = row + np.array([[3e-3], [-1e-3], [1e-3]], np.float32) * away
    codes = ids.encode(rows, "item", unique=True)
    np.testing.assert_array_equal(codes[:, :2], np.repeat(code, 3, axis=0))
    np.testing.assert_array_equal(np.argsort(codes[:, 2]), [1, 2, 0])


def test_no_number_left_says_what_to_do(ids: QuantizedIds, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match=r"numbers <V\+N> behind <V1-\d><V2-\d> are in use.*larger ids\.spare"):
        ids.encode(np.tile(vectors.item[:1], (100, 1)), "item", unique=True)


def test_bad_arguments_are_named(ids: QuantizedIds, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match="kind='brand'"):
        ids.encode(vectors.item, "brand", unique=False)
    with pytest.raises(ValueError, match=r"shape \(1, 3\), wanted \[m, 6\]"):
        ids.encode(np.zeros((1, 3), np.float32), "item", unique=False)
    with pytest.raises(ValueError, match="users may share ids"):
        ids.encode(vectors.user, "user", unique=True)
    with pytest.raises(ValueError, match="stands twice"):
        ids.with_rows("item", np.array([ITEMS]), ids.items.values[:1])
    with pytest.raises(ValueError, match=r"shape \(70, 2\), wanted \[m, 3\]"):
        ids.with_rows("item", np.arange(ITEMS), ids.items.values[:, :2])
    with pytest.raises(ValueError, match="from 9 to 9, wanted 0 to below"):
        ids.with_rows("user", np.array([0]), np.full((1, 2), 9))


def test_no_newcomers(ids: QuantizedIds) -> None:
    assert ids.encode(np.zeros((0, 6), np.float32), "item", unique=True).shape == (0, 3)
    assert ids.encode(np.zeros((0, 6), np.float32), "user", unique=False).shape == (0, 2)


def test_other_rows_train_the_users(vectors: Vectors) -> None:
    """The users' quantizer comes from `user_rows` alone; users are named by their own vectors."""
    rows = make_vectors(users=40, seed=3).user
    other, same = fit(vectors, "kmeans", user_rows=rows), fit(Vectors(rows, vectors.item), "kmeans")
    np.testing.assert_array_equal(other.user_quantizer.params["means"], same.user_quantizer.params["means"])
    np.testing.assert_array_equal(other.users.values, same.encode(vectors.user, "user", unique=False))
    assert other.report()["user"]["rows"] == 40


def test_saved_edited_and_loaded(ids: QuantizedIds, vectors: Vectors, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "ids"
    ids.save(folder, USER_NAMES, ITEM_NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["ids"]
    again = QuantizedIds.load(folder, USER_NAMES, ITEM_NAMES)
    assert (again.items.levels, again.items.sizes, again.unique) == (ids.items.levels, ids.items.sizes, True)
    assert again.users.sizes == ids.users.sizes
    assert again.report() == ids.report()
    np.testing.assert_array_equal(again.items.values, ids.items.values)
    np.testing.assert_array_equal(again.users.values, ids.users.values)
    jax.tree.map(np.testing.assert_array_equal, again.item_quantizer.params, ids.item_quantizer.params)
    assert dataclasses.asdict(again.item_quantizer.config) == dataclasses.asdict(ids.item_quantizer.config)
    new = make_vectors(seed=5).item[:6]
    np.testing.assert_array_equal(again.encode(new, "item", unique=True), ids.encode(new, "item", unique=True))
    lines = (folder / "items.txt").read_text().splitlines()
    lines[4] = f"item 4 <Item><V1-0><V2-3><V+{ids.items.sizes[2] - 1}>"
    (folder / "items.txt").write_text("\n".join(lines))
    edited = QuantizedIds.load(folder, USER_NAMES, ITEM_NAMES)
    np.testing.assert_array_equal(edited.items.values[4], [0, 3, ids.items.sizes[2] - 1])


def test_saved_kinds_are_equal_again(of_any_kind: QuantizedIds, vectors: Vectors, tmp_path: pathlib.Path) -> None:
    of_any_kind.save(tmp_path / "ids", USER_NAMES, ITEM_NAMES)
    again = QuantizedIds.load(tmp_path / "ids", USER_NAMES, ITEM_NAMES)
    new = make_vectors(seed=5).item[:6]
    np.testing.assert_array_equal(again.encode(new, "item", unique=True), of_any_kind.encode(new, "item", unique=True))


def test_damaged_files_are_named(ids: QuantizedIds, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "ids"
    ids.save(folder, USER_NAMES, ITEM_NAMES)
    text = (folder / "items.txt").read_text()
    first = text.splitlines()[0].split()[-1]
    (folder / "items.txt").write_text(text.replace(text.splitlines()[1], f"item 1 {first}"))
    with pytest.raises(ValueError, match=r"items.txt, line 2: .* is that of 'item 0' in line 1"):
        QuantizedIds.load(folder, USER_NAMES, ITEM_NAMES)
    (folder / "items.txt").write_text(text.replace("<V1-", "<V1-9", 1))
    with pytest.raises(ValueError, match=r"items.txt, line 1: .*out of range"):
        QuantizedIds.load(folder, USER_NAMES, ITEM_NAMES)
    (folder / "items.txt").write_text(text)
    whole = (folder / "quantizers.npz").read_bytes()
    (folder / "quantizers.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"quantizers.npz can't be read as quantizers"):
        QuantizedIds.load(folder, USER_NAMES, ITEM_NAMES)


def test_a_missing_array_is_named(ids: QuantizedIds, tmp_path: pathlib.Path) -> None:
    ids.save(tmp_path / "ids", USER_NAMES, ITEM_NAMES)
    file = tmp_path / "ids" / "quantizers.npz"
    with np.load(file) as kept:
        arrays = {name: value for name, value in kept.items() if name != "user.params['codebook']"}
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=r"wanted params\['codebook'\] of shape \(2, 4, 8\), there is none"):
        QuantizedIds.load(tmp_path / "ids", USER_NAMES, ITEM_NAMES)


def test_codewords_of_each_level(ids: QuantizedIds) -> None:
    first, second, last = ids.codewords("item")
    assert last is None
    wanted = ids.item_quantizer.params["codebook"]
    np.testing.assert_array_equal(first, wanted[0])
    np.testing.assert_array_equal(second, wanted[1])
    assert [book.shape for book in ids.codewords("user") if book is not None] == [(4, 8)] * 2


def test_a_collapsed_codebook_is_said(vectors: Vectors) -> None:
    """Items that are all but one the same can use two codewords at most."""
    item = np.tile(np.array([[1, 2, 0, 0, 0, 1]], np.float32), (ITEMS, 1))
    item[0] = -1
    lines: list[str] = []
    with messages_to(lines.append):
        ids = fit(Vectors(vectors.user, item), "kmeans")
    assert len(lines) == 1
    assert lines[0].startswith("codebook 1 of the item quantizer has collapsed: 2 of 8 codewords used")
    assert ids.report()["item"]["collapsed"] == lines
    assert ids.report()["user"]["collapsed"] == []
