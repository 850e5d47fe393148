"""Vectors of items from their texts: TF-IDF and a truncated SVD, or a frozen sentence encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from jaxrec.config import TextsConfig
from jaxrec.embedders.embedder import Embedder, Embedding, fold_in
from jaxrec.embedders.fold_in import of_each_user, unit_rows
from jaxrec.embedders.sentence_encoder import encode_sentences
from jaxrec.types import DataError, Histories, Interactions, Vectors

TFIDF = "tfidf"


def item_texts(data: Interactions) -> list[str]:
    """The text of each item: its title, and the values of its attributes; "" where it has neither.

    Raises:
      DataError: the data has neither titles nor attributes.
    """
    attributes, titles = data.item_attributes, data.item_titles
    if titles is None and attributes is None:
        raise DataError(
            "embedder texts reads titles and attributes of items, and this data has neither; name the file of items, "
            'data.items_path="items.csv", and columns to read, data.attributes=("genres",)'
        )
    texts = []
    for item, name in enumerate(data.titles()):
        values = [] if attributes is None else [str(value) for value in attributes.names[attributes.of(item)]]
        # An item without a title bears its name in its place, which says nothing.
        title = [] if titles is None or name == data.item_names[item] else [str(name)]
        texts.append(". ".join([*title, *([", ".join(values)] if values else [])]))
    return texts


def fit_texts(
    histories: Histories,
    settings: TextsConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
    about: Sequence[str],
) -> Embedding:
    """Unit vectors of items from their texts, as TIGER's are (Rajput et al. 2023, section 3.1); users are their means.

    No event makes an item's vector, so that items without an event have one, too. An item without a text gets the mean
    of its users' vectors.

    Args:
      histories: training events, of which users' vectors are made.
      settings: the encoder and the width.
      valid: not used.
      seed: of the SVD.
      folder: not used.
      about: the text of each item, from `item_texts`.
    Returns:
      Vectors without tables; rows of zeros for users without an event.
    Raises:
      ValueError: no text has a word, or the sentence encoder can't be read.
    """
    del valid, folder
    if not any(text.strip() for text in about):
        raise ValueError("embedder texts: no item of this data has a title or an attribute; take another embedder")
    item = _tfidf(about, settings.dim, seed) if settings.encoder == TFIDF else _sentences(about, settings, seed)
    vectors = Vectors(of_each_user(histories, item), item)
    return Embedding(fold_in(Embedding(vectors), histories))


def _tfidf(texts: Sequence[str], dim: int, seed: int) -> np.ndarray:
    """TF-IDF of words and pairs of words, reduced to f32[I,dim]; latent semantic indexing (Deerwester et al. 1990)."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w+\b")
    try:
        weights = words.fit_transform(texts)
    except ValueError as error:
        raise ValueError("embedder texts: titles and attributes of this data hold no word") from error
    return _reduced(weights, dim, seed)


def _sentences(texts: Sequence[str], settings: TextsConfig, seed: int) -> np.ndarray:
    vectors = encode_sentences(texts, settings.encoder)
    vectors[[not text.strip() for text in texts]] = 0
    return _reduced(vectors, settings.dim, seed)


def _reduced(rows, dim: int, seed: int) -> np.ndarray:
    """The first `dim` singular directions of rows, as unit vectors f32[I,dim]; fewer columns are padded with zeros."""
    if min(rows.shape) > dim:
        empty = np.asarray(abs(rows).sum(axis=1)).ravel() == 0
        rows = TruncatedSVD(dim, algorithm="arpack", random_state=seed).fit_transform(rows)
        rows[empty] = 0  # which rounding would make a direction of its own
    elif not isinstance(rows, np.ndarray):
        rows = rows.toarray()
    width = min(rows.shape[1], dim)
    return unit_rows(np.pad(rows[:, :width], ((0, 0), (0, dim - width))))


EMBEDDER = Embedder(
    title="item texts", settings=lambda config: config.texts, fit=fit_texts, about=item_texts, ranks=True
)
