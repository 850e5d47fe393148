"""Vectors from item texts: TF-IDF and its SVD against NumPy, a sentence encoder against a loop, a whole run."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from jaxrec import experiment
from jaxrec.config import Config, TextsConfig
from jaxrec.data.attributes import attributes_of
from jaxrec.data.load import load_interactions
from jaxrec.embedders.fold_in import unit_rows
from jaxrec.embedders.sentence_encoder import encode_sentences
from jaxrec.embedders.texts import fit_texts, item_texts
from jaxrec.inference import newcomers
from jaxrec.types import DataError, Histories, Interactions

TEXTS = ["red apple", "green apple", "", "blue plane", "red plane, big plane"]


def histories() -> Histories:
    return Histories(np.array([0, 2, 4, 4]), np.array([0, 2, 3, 2], np.int32), 5)


def fitted(texts: list[str] = TEXTS, **settings):
    return fit_texts(histories(), TextsConfig(**settings), seed=0, about=texts).vectors


def test_few_words_are_tf_idf_itself() -> None:
    items = fitted(dim=40).item
    assert items.shape == (5, 40)
    documents = [["red", "apple", "red apple"], ["green", "apple", "green apple"], [], ["blue", "plane", "blue plane"]]
    documents.append(["red", "plane", "big", "plane", "red plane", "plane big", "big plane"])
    words = sorted({word for document in documents for word in document})
    counts = np.array([[document.count(word) for word in words] for document in documents], float)
    idf = np.log((1 + 5) / (1 + (counts > 0).sum(axis=0))) + 1
    wanted = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    np.testing.assert_allclose(unit_rows(wanted)[[0, 1, 3, 4]], items[[0, 1, 3, 4], : len(words)], atol=1e-6)


def test_many_words_keep_the_first_singular_directions() -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in draw.choice(30, size=6)) for _ in range(40)]
    texts[3] = ""
    empty = Histories(np.array([0, 0]), np.zeros(0, np.int32), 40)
    wide = fit_texts(empty, TextsConfig(dim=2000), seed=0, about=texts).vectors.item
    narrow = fit_texts(empty, TextsConfig(dim=5), seed=0, about=texts).vectors.item
    left, values, _ = np.linalg.svd(wide, full_matrices=False)
    wanted = unit_rows(left[:, :5] * values[:5])
    wanted[3] = 0
    np.testing.assert_allclose(narrow @ narrow.T, wanted @ wanted.T, atol=1e-4)
    assert not narrow[3].any(), "nothing is known of it, and rounding must not make up a direction"


def test_users_are_means_and_an_item_without_text_is_what_its_users_are() -> None:
    vectors = fitted(dim=8)
    assert vectors.item.any(axis=1).all(), "item 1 has no event, and a text"
    users = unit_rows(vectors.item[[0, 3]])
    np.testing.assert_allclose(vectors.item[2], users.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(vectors.user[0], unit_rows(vectors.item[[0, 2]]).mean(axis=0), atol=1e-6)
    assert not vectors.user[2].any()


def about(titles, attributes=None) -> Interactions:
    nothing, names = np.zeros(0, np.int32), np.array(["a", "b", "c"], object)
    return Interactions(nothing, nothing, np.zeros(0, object), names, item_titles=titles, item_attributes=attributes)


def test_texts_are_titles_and_attributes() -> None:
    genres = attributes_of({"genres": [["Drama", "War"], [], ["Comedy"]], "year": [["1995"], [], []]})
    titles = np.array(["Alpha (1995)", "b", "Gamma"], object)  # b has no title, and bears its name
    assert item_texts(about(titles, genres)) == ["Alpha (1995). Drama, War, 1995", "", "Gamma. Comedy"]
    assert item_texts(about(None, genres)) == ["Drama, War, 1995", "", "Comedy"]
    assert item_texts(about(titles)) == ["Alpha (1995)", "", "Gamma"]


def test_data_without_texts_is_refused() -> None:
    with pytest.raises(DataError, match="this data has neither; name the file of items"):
        item_texts(about(None))
    with pytest.raises(ValueError, match="no item of this data has a title or an attribute"):
        fitted([""] * 5)
    with pytest.raises(ValueError, match="hold no word"):
        fitted(["!", "?", "-", "...", ""])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A BERT with random weights and a tokenizer of words."""
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "red", "green", "blue", "big", "apple", "plane", ","]
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    return folder


def test_a_sentence_is_the_mean_over_its_tokens(encoder: pathlib.Path) -> None:
    ids = {"red": 2, "green": 3, "blue": 4, "big": 5, "apple": 6, "plane": 7, ",": 8}
    model = BertModel.from_pretrained(encoder).eval()
    vectors = encode_sentences(TEXTS, str(encoder))
    for text, vector in zip(TEXTS, vectors, strict=True):
        if text:
            tokens = torch.tensor([[ids[word] for word in text.replace(",", " ,").split()]])
            with torch.no_grad():
                wanted = model(input_ids=tokens).last_hidden_state[0].mean(dim=0).numpy()
            np.testing.assert_allclose(vector, wanted, atol=1e-5)
    items = fitted(encoder=str(encoder), dim=12).item
    np.testing.assert_allclose(items[[0, 1, 3, 4]], unit_rows(vectors[[0, 1, 3, 4]]), atol=1e-5)


def test_an_encoder_that_can_not_be_read_is_named(encoder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"texts.encoder='.*nowhere' can't be read as a sentence encoder"):
        fitted(encoder=str(tmp_path / "nowhere"))
    damaged = shutil.copytree(encoder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=r"damaged' can't be read as a sentence encoder"):
        fitted(encoder=str(damaged))


@pytest.mark.slow
def test_a_whole_run_stands_on_texts(tiny: Config, token_rec: Config, tmp_path: pathlib.Path) -> None:
    ids = dataclasses.replace(tiny.ids, kind="rq_vae", entities="items", users="none")
    config = tiny.replace(
        embedder="texts", ids=ids, quantizer=token_rec.quantizer, texts__dim=8, out=str(tmp_path / "run")
    )
    config = config.replace(task__tasks=("sequential",))
    system, results = experiment.train(config)
    assert "item texts" in [row["system"] for row in results["rows"] if row.get("baseline")]
    vectors = system.embedding.vectors.item
    texts = item_texts(load_interactions(config.data, seed=config.seed)[0])
    things = np.array([text.split(". ")[0].split()[-1] for text in texts])
    same = things[:, None] == things[None]
    similar = vectors @ vectors.T
    assert similar[same].mean() > similar[~same].mean() + 0.2, "mugs are like mugs"
    users, items = np.array(["x", "user03"], object), np.array(["item03", "new"], object)
    events = Interactions(np.arange(2, dtype=np.int32), np.arange(2, dtype=np.int32), users, items)
    served, done = newcomers.update(newcomers.served(system), events)
    assert (done.new_users, done.new_items) == (1, 1)
    assert served.embedding.vectors.item[-1].any()
