"""RID, SID and IID: who has which number, and what happens to newcomers."""

import pathlib

import jax
import numpy as np
import pytest

from jaxrec.config import Config, IdConfig
from jaxrec.tokenizers import vocabulary
from jaxrec.tokenizers.ids import Ids, fit_ids, load_ids
from jaxrec.tokenizers.kind import IdInputs
from jaxrec.tokenizers.registry import id_kind
from jaxrec.types import Codes, Histories, Vectors

HISTORIES = Histories(np.array([0, 3, 3, 5]), np.array([4, 1, 4, 0, 7], np.int32), 9)
VECTORS = Vectors(
    np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32),
    np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32),
)


def fitted(kind: str, histories: Histories = HISTORIES, *, seed: int = 0, spare: int = 2) -> Ids:
    config = Config(name="test", seed=seed, ids=IdConfig(kind=kind, spare=spare))
    return fit_ids(IdInputs(VECTORS, histories, config, jax.random.key(0)))


def numbers(codes: Codes) -> list[int]:
    return [int("".join(map(str, row))) for row in codes.values.tolist()]


def test_sid_is_the_order_of_training_by_hand() -> None:
    ids = fitted("sid")
    actual = numbers(ids.items.codes)
    assert [actual[i] for i in (4, 1, 0, 7)] == [0, 1, 2, 3]
    assert sorted(actual) == list(range(9))
    assert [numbers(ids.users.codes)[u] for u in (0, 2, 1)] == [0, 1, 2]  # user 1 has no training event
    assert ids.items.text(7) == "<Item>03"  # 9 items and 2 spare take two digits


def test_sid_follows_when_items_are_named_otherwise() -> None:
    order = np.random.default_rng(2).permutation(9)
    moved = Histories(HISTORIES.offsets, order[HISTORIES.items].astype(np.int32), 9)
    one, other = numbers(fitted("sid").items.codes), numbers(fitted("sid", moved).items.codes)
    assert [other[order[i]] for i in (4, 1, 0, 7)] == [one[i] for i in (4, 1, 0, 7)]


@pytest.mark.parametrize("kind", ["sid", "rid"])
def test_the_unseen_have_no_order_of_their_own(kind: str) -> None:
    """Over seeds, an unseen item is as often before as behind another: nothing of the file's order is left."""
    before = [np.subtract(*np.array(numbers(fitted(kind, seed=s).items.codes))[[2, 8]]) < 0 for s in range(60)]
    assert 0.25 < np.mean(before) < 0.75
    np.testing.assert_array_equal(fitted(kind, seed=3).items.codes.values, fitted(kind, seed=3).items.codes.values)


def test_rid_says_nothing() -> None:
    actual = numbers(fitted("rid").items.codes)
    assert sorted(actual) == list(range(9))
    assert actual != list(range(9))
    assert numbers(fitted("rid", seed=1).items.codes) != actual


def test_iid_has_a_token_each_that_starts_from_the_vector() -> None:
    ids = fitted("iid")
    assert ids.items.codes.values[:, 0].tolist() == list(range(9))
    assert ids.items.codes.sizes == (11,)
    anchors = ids.items.codewords()[0]
    assert anchors is not None
    np.testing.assert_array_equal(anchors[:9], VECTORS.item)
    assert not anchors[9:].any()
    assert fitted("rid").items.codewords() == [None, None]


@pytest.mark.parametrize("kind", ["rid", "sid", "iid"])
def test_numbering_goes_on(kind: str) -> None:
    ids = fitted(kind)
    new = np.zeros((2, 5), np.float32)
    grown = ids.with_items(np.array([9, 10]), new).items
    assert len(np.unique(grown.codes.values, axis=0)) == 11
    np.testing.assert_array_equal(grown.codes.values[:9], ids.items.codes.values)
    mixed = grown.new_codes(new, np.array([4, 10]))
    np.testing.assert_array_equal(mixed, grown.codes.values[[4, 10]])  # who is there keeps the number
    most = 99 if kind != "iid" else 10
    with pytest.raises(ValueError, match=f"items are numbered up to {most}, all in use"):
        ids.items.new_codes(np.zeros((100, 5)), np.arange(9, 109))
    with pytest.raises(ValueError, match=r"has no id for somebody without a number; set ids\.users none"):
        ids.user_codes(new)
    with pytest.raises(ValueError, match="stands twice"):
        ids.items.with_rows(np.array([9]), ids.items.codes.values[:1])
    with pytest.raises(ValueError, match="expected 0 to below"):
        ids.items.with_rows(np.array([9]), np.full((1, len(ids.items.codes.sizes)), 100))


@pytest.mark.parametrize("kind", ["rid", "sid", "iid"])
def test_files_are_read_and_may_be_edited(kind: str, tmp_path: pathlib.Path) -> None:
    ids, names = fitted(kind), (np.array(["a", "b", "c d"]), np.array([f"item {i}" for i in range(9)]))
    ids.save(tmp_path / "ids", *names)
    config = IdConfig(kind=kind)
    again = load_ids(tmp_path / "ids", config, *names)
    for one, other in ((ids.users.codes, again.users.codes), (ids.items.codes, again.items.codes)):
        np.testing.assert_array_equal(one.values, other.values)
        assert (one.sizes, one.levels) == (other.sizes, other.levels)
    for expected, words in zip(ids.items.codewords(), again.items.codewords(), strict=True):
        np.testing.assert_array_equal(expected, words)
    file = tmp_path / "ids" / "items.txt"
    lines = file.read_text().splitlines()
    lines[2] = "item 2 <Item>" + ("<IID10>" if kind == "iid" else "42")
    file.write_text("\n".join(lines))
    edited = load_ids(tmp_path / "ids", config, *names).items.codes
    assert edited.values[2].tolist() == ([10] if kind == "iid" else [4, 2])
    lines[3] = lines[2].replace("item 2", "item 3")
    file.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"items.txt, line 4: .* is that of 'item 2' in line 3"):
        load_ids(tmp_path / "ids", config, *names)
    (tmp_path / "ids" / "items.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"items\.npz was damaged or edited"):
        load_ids(tmp_path / "ids", config, *names)


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(ValueError, match=r"kind='pq' is not one of meta_id, .*mq, .*rid, sid, iid"):
        fitted("pq")
    assert not id_kind("rid").from_vectors


def test_digits_are_tokens_of_the_text_vocabulary(tmp_path: pathlib.Path) -> None:
    ids = fitted("rid")
    words = vocabulary.train_text_tokenizer(["What comes next?", "Pick one of 12 34 56 78 90 items, 1234567890"] * 9)
    digits = words.convert_tokens_to_ids(list("0123456789"))
    names, single = (
        f(ids.users.codes, ids.items.codes) for f in (vocabulary.new_token_names, vocabulary.text_token_names)
    )
    assert names == ("<User>", "<Item>")
    assert single == tuple("0123456789")
    made = vocabulary.extend(words, names, single=single)
    made.save(tmp_path / "words")
    for known in (made, vocabulary.load(tmp_path / "words", names)):
        assert known.first_oov == made.first_oov
        tokens = known.ids("<Item>", ids.items.codes).tokens
        assert (tokens[:, 0] == known.first_oov + 1).all()
        assert set(tokens[:, 1:].ravel().tolist()) <= set(digits)
        assert len(np.unique(tokens, axis=0)) == 9
        joined = " ".join(ids.items.text(item) for item in range(9))
        np.testing.assert_array_equal(known.encode(f"Pick {joined} next?")[1:-2], tokens.ravel())
    with pytest.raises(ValueError, match="the tokenizer has no token '☃'"):
        vocabulary.extend(vocabulary.train_text_tokenizer(["x"]), ["<User>"], single=["☃"])


def test_other_ids_ask_for_no_digits() -> None:
    ids = fitted("iid")
    assert vocabulary.text_token_names(ids.users.codes, ids.items.codes) == ()
    assert len(vocabulary.new_token_names(ids.users.codes, ids.items.codes)) == 2 + 5 + 11
