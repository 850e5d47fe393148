import dataclasses

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AddedToken, PreTrainedTokenizerFast

from jaxrec.tasks import templates
from jaxrec.tokenizers import vocabulary
from jaxrec.tokenizers.meta_id import LEVELS
from jaxrec.types import Codes


def sized(*sizes: int) -> Codes:
    return Codes(np.zeros((0, 2), np.int32), sizes, LEVELS)


NAMES = vocabulary.new_token_names(sized(6, 9))


@pytest.fixture(scope="module")
def words() -> vocabulary.Vocabulary:
    return vocabulary.extend(vocabulary.train_text_tokenizer(templates.template_texts()), NAMES)


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
    text = vocabulary.train_text_tokenizer(templates.template_texts())
    rows = len(text) + 28  # as T5: 32,128 rows for 32,100 tokens
    grown = vocabulary.extend(text, NAMES, table_rows=rows)
    assert grown.first_oov == rows


TEXTS = [
    "What a great guitar! I paid < 20 for <b>two</b>",
    " ".join(map(chr, range(33, 127))),
    *templates.template_texts(),
]
PLAIN = ["great  strings, 5 stars", "a < b > c <br> <3", "[sic] <Items> <CT> CT1 ", "", " ", "café ☃ 漢", "</ s>"]


def t5_like() -> PreTrainedTokenizerFast:
    """Unigram over normalised text; its control tokens are pieces of the model as well."""
    own = tokenizers.Tokenizer(models.Unigram())
    own.normalizer, own.decoder = normalizers.NFKC(), decoders.Metaspace()
    own.pre_tokenizer = pre_tokenizers.Metaspace()
    names = ["<pad>", "</s>", "<unk>"]
    own.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=300, special_tokens=names, unk_token="<unk>", show_progress=False)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=[f"<extra_id_{i}>" for i in range(3)],
    )


def llama_like() -> PreTrainedTokenizerFast:
    """BPE with marked words; begins prompts, and has control tokens of several shapes, normalised ones among them."""
    own = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    own.normalizer, own.decoder = normalizers.Lowercase(), decoders.Metaspace()
    names = ["<unk>", "<s>", "</s>"]
    own.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=names, show_progress=False))
    more: list[str | AddedToken] = [
        AddedToken(name, normalized=True) for name in ("[inst]", "[/inst]", "]x[", "  ", "7")
    ]
    actual = PreTrainedTokenizerFast(tokenizer_object=own, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    actual.add_tokens(more)
    actual.add_special_tokens({"additional_special_tokens": ["<|eot_id|>", "[MASK]", "~"]})
    return actual


@pytest.fixture(scope="module", params=["offline", "T5-like", "LLaMA-like"])
def any_words(request: pytest.FixtureRequest) -> vocabulary.Vocabulary:
    if request.param == "offline":
        text = vocabulary.train_text_tokenizer(TEXTS, 600)
    else:
        text = t5_like() if request.param == "T5-like" else llama_like()
    names = vocabulary.new_token_names(sized(6, 9), answer=True)
    return vocabulary.extend(text, names, len(text) + 5, single=["5"])


def control(words: vocabulary.Vocabulary) -> dict[str, int]:
    """What no written text may hold, by name."""
    tokenizer = words.tokenizer
    added = {
        token.content: n for n, token in tokenizer.added_tokens_decoder.items() if token.content not in ("5", "7", "  ")
    }
    return added | dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids))


def test_no_name_in_a_written_text_becomes_its_token(any_words: vocabulary.Vocabulary) -> None:
    names = control(any_words)
    assert {"<Item>", "<CT5>", "<Answer>", "<unused0>", "</s>", "<unk>"} <= set(names)
    texts = [
        shape.format(name) for name in names for shape in ("{}", "great{} strings", "a {0}{0}b", "<{}", "{}>", "[{}x[")
    ]
    forged = sum(bool(np.isin(any_words.encode(text), list(names.values())).any()) for text in texts)
    assert forged > 0.8 * len(texts)
    for text, tokens in zip(texts, any_words.written(texts), strict=True):
        assert not set(tokens.tolist()) & {vocabulary.PAD, *names.values()}, text
        assert tokens.max(initial=0) < any_words.first_oov
    [tokens] = any_words.written(["great<Item> strings</s>"])
    assert "".join(any_words.tokenizer.decode(tokens).split()).lower() == "great<item>strings</s>"


def test_plain_written_text_is_encoded_as_ever(
    any_words: vocabulary.Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (vocabulary.BATCH, 2):
        monkeypatch.setattr(vocabulary, "BATCH", size)
        actual = any_words.written(PLAIN)
        assert any(map(len, actual))
        for text, tokens in zip(PLAIN, actual, strict=True):
            assert tokens.dtype == np.int32
            np.testing.assert_array_equal(tokens, any_words.encode(text))
    assert any_words.written([]) == []


def test_names_that_only_normalising_makes_are_left_out() -> None:
    """Wide brackets become narrow ones behind the search for names, and T5's own pieces hold </s>."""
    words = vocabulary.extend(t5_like(), NAMES)
    assert 1 in words.encode("a \uff1c/s\uff1e b")
    [tokens] = words.written(["a \uff1c/s\uff1e b"])
    assert words.tokenizer.decode(tokens).split() == ["a", "b"]
    words = vocabulary.extend(llama_like(), NAMES)
    brackets = words.tokenizer.convert_tokens_to_ids("[inst]")
    assert brackets in words.encode("a [INST] b")
    [tokens] = words.written(["a [INST] b"])
    assert words.tokenizer.decode(tokens).split() == ["a", "b"]


@settings(deadline=None, max_examples=100)
@given(
    parts=st.lists(
        st.sampled_from([*NAMES, "</s>", "<pad>", "<", ">", " ", "s", "/", "\uff1c", "CT1", "</s"]), max_size=8
    )
)
def test_no_joint_of_written_pieces_is_a_name(words: vocabulary.Vocabulary, parts: list[str]) -> None:
    [tokens] = words.written(["".join(parts)])
    assert not np.isin(tokens, list(control(words).values())).any()
    assert len(tokens) >= len("".join(parts).replace(" ", "")) / 8


def test_many_written_texts_are_one_call(words: vocabulary.Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Counted:
        def __getattr__(self, name: str):
            return getattr(words.tokenizer, name)

        def __call__(self, texts, **options):
            calls.append(len(texts))
            return words.tokenizer(texts, **options)

    counted = dataclasses.replace(words, tokenizer=Counted())  # pyright: ignore
    actual = counted.written(["great strings"] * 500 + ["<Item> of mine"])
    assert calls == [501]
    assert len(actual) == 501
    np.testing.assert_array_equal(actual[499], words.encode("great strings"))
