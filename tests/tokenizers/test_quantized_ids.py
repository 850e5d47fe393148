"""Quantized ids: unique where asked, kept through files, given to newcomers with everything frozen."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from jaxrec.config import Config, IdConfig, QuantizerConfig
from jaxrec.progress import messages_to
from jaxrec.tokenizers.entity_ids import EntityIds
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.quantized_ids import QuantizedIds, _collision_numbers
from jaxrec.tokenizers.quantizers.quantizer import Quantizer
from jaxrec.types import Histories, Vectors

CONFIG = QuantizerConfig(codebooks=2, codewords=4, width=8, hidden=(16,), batch=32, epochs=20, learning_rate=3e-3)
USERS, ITEMS = 66, 70  # as many users as items that are not zeros: one compilation for both
USER_NAMES = np.array([f"user {i}" for i in range(USERS)])
ITEM_NAMES = np.array([f"item {i}" for i in range(ITEMS)])


def make_vectors(users: int = USERS, items: int = ITEMS, zeros: int = 4, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    user, item = (rng.normal(size=(n, 6)).astype(np.float32) for n in (users, items))
    item[rng.permutation(items)[:zeros]] = 0
    return Vectors(user, item)


def fit(vectors: Vectors, kind: str = "mq", unique: bool = True, user_rows: np.ndarray | None = None) -> Ids:
    answer = "id" if unique else "vector"
    config = Config(name="test", ids=IdConfig(kind=kind, spare=5), quantizer=CONFIG, answer=answer)
    no_events = Histories(np.zeros(len(vectors.user) + 1, np.int64), np.zeros(0, np.int32), len(vectors.item))
    return fit_ids(IdInputs(vectors, no_events, config, jax.random.key(0), user_rows=user_rows))


def load(folder: pathlib.Path, kind: str = "mq") -> Ids:
    return load_ids(folder, IdConfig(kind=kind), USER_NAMES, ITEM_NAMES)


def quantizer(ids: EntityIds) -> Quantizer:
    assert isinstance(ids, QuantizedIds)
    return ids.quantizer


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return make_vectors()


@pytest.fixture(scope="module")
def ids(vectors: Vectors) -> Ids:
    return fit(vectors)


@pytest.fixture(scope="module", params=["rq_vae", "vq_vae", "kmeans"])
def of_any_kind(request: pytest.FixtureRequest, vectors: Vectors) -> Ids:
    return fit(vectors, request.param)


def check_table(ids: Ids, vectors: Vectors, books: int) -> None:
    assert ids.users.codes.levels == ("<U1-{}>", "<U2-{}>")[:books]
    assert ids.items.codes.levels == (*("<V1-{}>", "<V2-{}>")[:books], "<V+{}>")
    words = 4 if books == 2 else 8
    assert ids.users.codes.sizes == (words,) * books
    # 70 items share 16 or 8 codes: there are collisions, and the last level sets them apart.
    codes, number = ids.items.codes.values[:, :-1], ids.items.codes.values[:, -1]
    assert len(np.unique(ids.items.codes.values, axis=0)) == ITEMS > len(np.unique(codes, axis=0))
    _, holders = np.unique(codes, axis=0, return_counts=True)
    assert ids.items.codes.sizes == (*(words,) * books, holders.max() + 5)
    for code in np.unique(codes, axis=0):
        own = np.flatnonzero((codes == code).all(1))
        assert sorted(number[own]) == list(range(len(own)))
        rebuilt = quantizer(ids.items).decode(codes[own])
        distance = ((vectors.item[own].astype(np.float64) - rebuilt) ** 2).sum(1)
        distance[(vectors.item[own] == 0).all(1)] = np.inf
        ordered = distance[np.argsort(number[own])]
        assert (ordered[1:] >= ordered[:-1] - 1e-5).all()
    np.testing.assert_array_equal(ids.items.codes_of(vectors.item), codes)
    np.testing.assert_array_equal(ids.user_codes(vectors.user).values, ids.users.codes.values)


def test_items_are_unique_users_may_coincide(ids: Ids, vectors: Vectors) -> None:
    check_table(ids, vectors, books=2)
    assert len(np.unique(ids.users.codes.values, axis=0)) <= 16 < USERS


@pytest.mark.slow
def test_every_kind_gives_a_table(of_any_kind: Ids, vectors: Vectors) -> None:
    check_table(of_any_kind, vectors, books=2 if quantizer(of_any_kind.items).kind.name == "rq_vae" else 1)


def test_numbers_by_hand() -> None:
    codes = np.array([[1, 2], [0, 2], [1, 2], [1, 2], [0, 2]])
    np.testing.assert_array_equal(_collision_numbers(codes, np.array([3.0, 0.5, np.inf, 1.0, 0.5])), [1, 0, 2, 0, 1])


def test_without_unique_there_is_no_last_level(vectors: Vectors) -> None:
    ids = fit(vectors, "kmeans", unique=False)
    assert ids.items.codes.levels == ("<V1-{}>",)
    twin = ids.items.new_codes(vectors.item[:1], np.array([ITEMS]))
    np.testing.assert_array_equal(twin, ids.items.codes.values[:1])
    grown = ids.with_items(np.array([ITEMS]), vectors.item[:1])  # as nothing has to tell them apart
    np.testing.assert_array_equal(grown.items.codes.values[ITEMS:], twin)


def test_newcomers_get_free_numbers(ids: Ids, vectors: Vectors) -> None:
    new = np.concatenate([make_vectors(1, 3, zeros=0, seed=9).item, vectors.item[:2]])
    codes = ids.items.new_codes(new, ITEMS + np.arange(5))
    grown = ids.with_items(ITEMS + np.arange(5), new)
    assert grown.items.codes.values.shape == (ITEMS + 5, 3)
    assert len(np.unique(grown.items.codes.values, axis=0)) == ITEMS + 5
    np.testing.assert_array_equal(grown.items.codes.values[:ITEMS], ids.items.codes.values)
    np.testing.assert_array_equal(codes[:, :2], ids.items.codes_of(new))
    # Two copies of items that are there: the same codes, the lowest number that nobody has.
    np.testing.assert_array_equal(codes[3:, :2], ids.items.codes.values[:2, :2])
    for code in codes[3:]:
        holders = grown.items.codes.values[(grown.items.codes.values[:, :2] == code[:2]).all(1), 2]
        assert sorted(holders) == list(range(len(holders)))
    users = ids.users.with_rows(USERS + np.arange(2), ids.users.codes.values[:2])
    np.testing.assert_array_equal(
        users.codes.values, np.concatenate([ids.users.codes.values, ids.users.codes.values[:2]])
    )
    moved = ids.items.with_rows(np.array([7, ITEMS]), codes[:2])  # one that was there, one that was not
    np.testing.assert_array_equal(moved.codes.values[[7, ITEMS]], codes[:2])
    others = np.delete(np.arange(ITEMS), 7)
    np.testing.assert_array_equal(moved.codes.values[others], ids.items.codes.values[others])


def test_the_nearest_newcomer_comes_first(ids: Ids, vectors: Vectors) -> None:
    row, code = vectors.item[:1], ids.items.codes.values[:1, :2]
    away = row - quantizer(ids.items).decode(code)
    rows = row + np.array([[3e-3], [-1e-3], [1e-3]], np.float32) * away
    codes = ids.items.new_codes(rows, ITEMS + np.arange(3))
    np.testing.assert_array_equal(codes[:, :2], np.repeat(code, 3, axis=0))
    np.testing.assert_array_equal(np.argsort(codes[:, 2]), [1, 2, 0])


def test_no_number_left_says_what_to_do(ids: Ids, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match=r"numbers <V\+N> behind <V1-\d><V2-\d> are in use.*larger ids\.spare"):
        ids.items.new_codes(np.tile(vectors.item[:1], (100, 1)), ITEMS + np.arange(100))


def test_bad_arguments_are_named(ids: Ids, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \[m, 6\]"):
        ids.items.codes_of(np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="stands twice"):
        ids.items.with_rows(np.array([ITEMS]), ids.items.codes.values[:1])
    with pytest.raises(ValueError, match=r"shape \(70, 2\), expected \[m, 3\]"):
        ids.items.with_rows(np.arange(ITEMS), ids.items.codes.values[:, :2])
    with pytest.raises(ValueError, match="from 9 to 9, expected 0 to below"):
        ids.users.with_rows(np.array([0]), np.full((1, 2), 9))


def test_no_newcomers(ids: Ids) -> None:
    assert ids.items.new_codes(np.zeros((0, 6), np.float32), np.zeros(0, np.int64)).shape == (0, 3)
    assert ids.user_codes(np.zeros((0, 6), np.float32)).values.shape == (0, 2)


def test_other_rows_train_the_users(vectors: Vectors) -> None:
    """The users' quantizer comes from `user_rows` alone; users are named by their own vectors."""
    rows = make_vectors(users=40, seed=3).user
    other, same = fit(vectors, "kmeans", user_rows=rows), fit(Vectors(rows, vectors.item), "kmeans")
    np.testing.assert_array_equal(quantizer(other.users).params["means"], quantizer(same.users).params["means"])
    np.testing.assert_array_equal(other.users.codes.values, same.user_codes(vectors.user).values)
    assert other.report()["user"]["rows"] == 40


def test_saved_edited_and_loaded(ids: Ids, vectors: Vectors, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "ids"
    ids.save(folder, USER_NAMES, ITEM_NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["ids"]
    again = load(folder)
    assert (again.items.codes.levels, again.items.codes.sizes) == (ids.items.codes.levels, ids.items.codes.sizes)
    assert (again.items.unique, again.users.unique) == (True, False)
    assert again.users.codes.sizes == ids.users.codes.sizes
    assert again.report() == ids.report()
    np.testing.assert_array_equal(again.items.codes.values, ids.items.codes.values)
    np.testing.assert_array_equal(again.users.codes.values, ids.users.codes.values)
    jax.tree.map(np.testing.assert_array_equal, quantizer(again.items).params, quantizer(ids.items).params)
    assert dataclasses.asdict(quantizer(again.items).config) == dataclasses.asdict(quantizer(ids.items).config)
    new = make_vectors(seed=5).item[:6]
    np.testing.assert_array_equal(
        again.items.new_codes(new, ITEMS + np.arange(6)), ids.items.new_codes(new, ITEMS + np.arange(6))
    )
    lines = (folder / "items.txt").read_text().splitlines()
    lines[4] = f"item 4 <Item><V1-0><V2-3><V+{ids.items.codes.sizes[2] - 1}>"
    (folder / "items.txt").write_text("\n".join(lines))
    edited = load(folder)
    np.testing.assert_array_equal(edited.items.codes.values[4], [0, 3, ids.items.codes.sizes[2] - 1])


def test_saved_kinds_are_equal_again(of_any_kind: Ids, vectors: Vectors, tmp_path: pathlib.Path) -> None:
    of_any_kind.save(tmp_path / "ids", USER_NAMES, ITEM_NAMES)
    again = load(tmp_path / "ids", quantizer(of_any_kind.items).kind.name)
    new, rows = make_vectors(seed=5).item[:6], ITEMS + np.arange(6)
    np.testing.assert_array_equal(again.items.new_codes(new, rows), of_any_kind.items.new_codes(new, rows))


def test_damaged_files_are_named(ids: Ids, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "ids"
    ids.save(folder, USER_NAMES, ITEM_NAMES)
    text = (folder / "items.txt").read_text()
    first = text.splitlines()[0].split()[-1]
    (folder / "items.txt").write_text(text.replace(text.splitlines()[1], f"item 1 {first}"))
    with pytest.raises(ValueError, match=r"items.txt, line 2: .* is that of 'item 0' in line 1"):
        load(folder)
    (folder / "items.txt").write_text(text.replace("<V1-", "<V1-9", 1))
    with pytest.raises(ValueError, match=r"items.txt, line 1: .*out of range"):
        load(folder)
    (folder / "items.txt").write_text(text)
    whole = (folder / "items.npz").read_bytes()
    (folder / "items.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"items.npz was damaged or edited"):
        load(folder)


def test_a_missing_array_is_named(ids: Ids, tmp_path: pathlib.Path) -> None:
    ids.save(tmp_path / "ids", USER_NAMES, ITEM_NAMES)
    file = tmp_path / "ids" / "users.npz"
    with np.load(file) as kept:
        arrays = {name: value for name, value in kept.items() if name != "its_params['codebook']"}
    np.savez(file, **arrays)
    (tmp_path / "ids" / "sums.json").unlink()
    with pytest.raises(ValueError, match=r"expected params\['codebook'\] of shape \(2, 4, 8\), got none"):
        load(tmp_path / "ids")


def test_codewords_of_each_level(ids: Ids) -> None:
    first, second, last = ids.items.codewords()
    assert last is None
    expected = quantizer(ids.items).params["codebook"]
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_array_equal(second, expected[1])
    assert [book.shape for book in ids.users.codewords() if book is not None] == [(4, 8)] * 2


def test_a_collapsed_codebook_is_logged(vectors: Vectors) -> None:
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
