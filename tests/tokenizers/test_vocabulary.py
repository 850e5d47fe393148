import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.tasks import prompts
from jaxrec.tokenizers import vocabulary
from jaxrec.tokenizers.meta_id import LEVELS
from jaxrec.types import Codes


def sized(*sizes: int) -> Codes:
    return Codes(np.zeros((0, 2), np.int32), sizes, LEVELS)


NAMES = vocabulary.new_token_names(sized(6, 9))


@pytest.fixture(scope="module")
def words() -> vocabulary.Vocabulary:
    return vocabulary.extend(vocabulary.train_text_tokenizer(prompts.texts()), NAMES)


def test_names_in_order() -> None:
    assert vocabulary.new_token_names(sized(2, 3), sized(2, 3)) == (
        "<User>",
        "<Item>",
        "<CT0>",
        "<CT1>",
        "<CI0>",
        "<CI1>",
        "<CI2>",
    )


def test_layout(words: vocabulary.Vocabulary) -> None:
    assert words.tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "</s>", "<unk>"]
    assert words.first_oov + len(NAMES) == len(words.tokenizer)
    assert words.size % vocabulary.MULTIPLE == 0
    assert words.size >= len(words.tokenizer)


@settings(deadline=None, max_examples=60)
@given(
    before=st.text(max_size=12).filter(lambda s: "<" not in s),
    after=st.text(max_size=12).filter(lambda s: "<" not in s),
    picks=st.lists(st.integers(0, len(NAMES) - 1), min_size=1, max_size=4),
)
def test_new_tokens_are_single_in_any_context(
    words: vocabulary.Vocabulary, before: str, after: str, picks: list[int]
) -> None:
    for joint in ("", " "):
        tokens = words.encode(before + joint.join(NAMES[i] for i in picks) + after)
        assert [t - words.first_oov for t in tokens if t >= words.first_oov] == picks


def test_no_text_is_unknown(words: vocabulary.Vocabulary) -> None:
    text = "Ünïcode ☃ and 漢字 go through"
    tokens = words.encode(text)
    assert 2 not in tokens
    assert words.tokenizer.decode(tokens).strip() == text


def test_id_rows(words: vocabulary.Vocabulary) -> None:
    rows = words.ids("<Item>", Codes(np.array([[0, 8], [5, 0]], np.int32), (6, 9), LEVELS)).tokens
    assert words.tokenizer.convert_ids_to_tokens(rows[0]) == ["<Item>", "<CT0>", "<CI8>"]
    assert words.tokenizer.convert_ids_to_tokens(rows[1]) == ["<Item>", "<CT5>", "<CI0>"]
    np.testing.assert_array_equal(words.encode("<Item><CT0><CI8>"), rows[0])


def test_saved_and_loaded(words: vocabulary.Vocabulary, tmp_path) -> None:
    words.save(tmp_path)
    again = vocabulary.load(tmp_path, NAMES)
    assert (again.first_oov, again.size) == (words.first_oov, words.size)
    text = "What comes after <Item><CT3><CI4> for <User><CT1><CI1>?"
    np.testing.assert_array_equal(again.encode(text), words.encode(text))


def test_errors(words: vocabulary.Vocabulary, tmp_path) -> None:
    with pytest.raises(ValueError, match="'<CT1>' is known"):
        vocabulary.extend(words.tokenizer, ["<CT1>"])
    with pytest.raises(ValueError, match="stands twice"):
        vocabulary.extend(vocabulary.train_text_tokenizer(["a b"]), ["<x>", "<x>"])
    with pytest.raises(ValueError, match=r"no tokenizer.json in"):
        vocabulary.load(tmp_path / "nothing", NAMES)
    with pytest.raises(ValueError, match="no tokenizer at"):
        vocabulary.load_text_tokenizer(tmp_path)


def test_pretrained_rows_without_a_token_are_filled() -> None:
    text = vocabulary.train_text_tokenizer(prompts.texts())
    rows = len(text) + 28  # as T5: 32,128 rows for 32,100 tokens
    grown = vocabulary.extend(text, NAMES, table_rows=rows)
    assert grown.first_oov == rows
