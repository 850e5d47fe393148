"""Baselines of ratings and texts without a language model: means and biases, words that count, texts of training."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from jaxrec.baselines.rating_mf import Stars, check

REGULARIZERS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""What `rating_baselines` chooses from on validation ratings."""

ALPHAS = (0.3, 1.0, 3.0, 10.0)
"""What `preference_baselines` chooses from on validation ratings."""

ROUNDS = 1000
TOLERANCE = 1e-6
"""Rounds of `biases` at most, and the largest change of a bias, in stars, at which they end."""
BLOCK = 4_000_000
"""Cosines that are held at a time."""


def rating_baselines(
    train: Stars, valid: Stars, test: Stars, n_users: int, n_items: int
) -> list[tuple[str, np.ndarray]]:
    """The training mean, the training median, and the mean with a bias of each user and item.

    The median is the best constant for MAE, as the mean is for RMSE. The regulariser of the biases is the one of
    `REGULARIZERS` with the lowest RMSE on `valid`, the smaller one where they tie; nothing else is learned from
    `valid`.

    Args:
      train: what is learned from.
      valid: what the regulariser is chosen on.
      test: pairs to predict; its ratings are not read.
      n_users: U.
      n_items: I.
    Returns:
      Names and predictions f64[n] for `test`, kept within the range of the training ratings.
    Raises:
      ValueError: a part is empty, or a user or item is out of range.
    """
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        check(name, part, n_users, n_items)
    mean, low, high = (float(f(train.rating)) for f in (np.mean, np.min, np.max))

    def predict(part: Stars, of_user: np.ndarray, of_item: np.ndarray) -> np.ndarray:
        return np.clip(mean + of_user[part.user] + of_item[part.item], low, high)

    found = []
    for regularizer in REGULARIZERS:
        both = biases(train, n_users, n_items, regularizer)
        error = np.mean(np.square(predict(valid, *both) - valid.rating))
        found.append((error, predict(test, *both)))
    best = min(found, key=lambda pair: pair[0])[1]
    constants = ("global mean", mean), ("global median", float(np.median(train.rating)))
    return [(name, np.full(len(test.rating), value)) for name, value in constants] + [("user + item bias", best)]


def biases(train: Stars, n_users: int, n_items: int, regularizer: float) -> tuple[np.ndarray, np.ndarray]:
    """The biases of users f64[U] and items f64[I] that explain ratings best; 0 for who has none.

    Koren, Bell and Volinsky 2009, eq. 3, with the loss of the baseline estimates of Koren 2008, section 2.1: the least
    of sum (r - mu - b_u - b_i)^2 + regularizer (sum b_u^2 + sum b_i^2), mu the training mean. Each kind is solved given
    the other, b = sum of what is left / (regularizer + number of ratings), until nothing moves.

    Args:
      train: the ratings.
      n_users: U.
      n_items: I.
      regularizer: above 0.
    """
    left = train.rating - train.rating.mean()
    of_user, of_item = np.zeros(n_users), np.zeros(n_items)
    users, items = np.bincount(train.user, minlength=n_users), np.bincount(train.item, minlength=n_items)
    for _ in range(ROUNDS):
        then = np.bincount(train.item, left - of_user[train.user], n_items) / (regularizer + items)
        now = np.bincount(train.user, left - then[train.item], n_users) / (regularizer + users)
        moved = max(np.abs(then - of_item).max(), np.abs(now - of_user).max())
        of_user, of_item = now, then
        if moved < TOLERANCE:
            break
    return of_user, of_item


def preference_baselines(
    train_reviews: Sequence[str],
    train: Stars,
    valid_reviews: Sequence[str],
    valid: Stars,
    test_reviews: Sequence[str],
) -> list[tuple[str, np.ndarray]]:
    """Stars of a review as a linear function of its words.

    Ridge regression (Hoerl and Kennard 1970) on tf-idf of words and pairs of words with sublinear tf (Manning, Raghavan
    and Schuetze 2008, section 6.4.1), of what stands in two training reviews at least. The penalty is the one of
    `ALPHAS` with the lowest RMSE on `valid`, the smaller one where they tie.

    Args:
      train_reviews: n reviews.
      train: their ratings; users and items are not read.
      valid_reviews: what the penalty is chosen on.
      valid: their ratings.
      test_reviews: m reviews.
    Returns:
      A name and predictions f64[m], kept within the range of the training ratings; the training mean where the training
      reviews hold no word.
    Raises:
      ValueError: training or validation is empty, or there are not as many reviews as ratings.
    """
    for name, texts, part in (("train", train_reviews, train), ("valid", valid_reviews, valid)):
        if not len(texts) or len(texts) != len(part.rating):
            raise ValueError(
                f"{name} wants a rating for each review and one at least; came {len(texts)} reviews and "
                f"{len(part.rating)} ratings"
            )
    name, (mean, low, high) = "words (tf-idf ridge)", (float(f(train.rating)) for f in (np.mean, np.min, np.max))
    made = _tf_idf(train_reviews, valid_reviews, test_reviews, longest=2, least=2) if len(test_reviews) else None
    if made is None:
        return [(name, np.full(len(test_reviews), mean))]
    vectors, of_valid, of_test = made
    found = []
    for alpha in ALPHAS:
        ridge = Ridge(alpha=alpha).fit(vectors, train.rating)
        error = np.mean(np.square(np.clip(ridge.predict(of_valid), low, high) - valid.rating))
        found.append((error, np.clip(ridge.predict(of_test), low, high)))
    return [(name, min(found, key=lambda pair: pair[0])[1])]


def summary_baselines(
    train_summaries: Sequence[str], train_reviews: Sequence[str], test_reviews: Sequence[str]
) -> list[tuple[str, list[str]]]:
    """The summary that stands most often in training, the review's first sentence, and a similar review's summary.

    "title of the nearest review" is the summary of the training review with the highest cosine of tf-idf; of equally
    near ones the first. A review that shares no word with one gets the most frequent summary. It is the baseline "IR"
    of Rush, Chopra and Weston 2015, section 7.2, who rank by BM25.

    Args:
      train_summaries: of the training reviews, at least one; of equally frequent ones the first counts.
      train_reviews: as many.
      test_reviews: what is to be summarised.
    Returns:
      Names and a text for each test review.
    Raises:
      ValueError: there is no training summary, or there are not as many as training reviews.
    """
    if not len(train_summaries):
        raise ValueError("train_summaries is empty; leave the task out where no training review has a summary")
    if len(train_summaries) != len(train_reviews):
        raise ValueError(
            f"train_summaries and train_reviews must be as many; came {len(train_summaries)} and {len(train_reviews)}"
        )
    common = _most_frequent((None, text) for text in train_summaries)[None]
    near = _nearest(train_reviews, test_reviews)
    nearest = [common if n < 0 else str(train_summaries[n]) for n in near.tolist()]
    return [
        ("most frequent summary", [common] * len(test_reviews)),
        ("lead sentence", [lead_sentence(text) for text in test_reviews]),
        ("title of the nearest review", nearest),
    ]


def lead_sentence(text: str) -> str:
    """Up to the first run of ".", "!" or "?" that white space follows, or the first line break, else the whole text."""
    text = text.strip()
    found = re.search(r"[.!?]+(?=\s)|\s*[\r\n]", text)
    return text if found is None else text[: found.end()].strip()


def explanation_baselines(
    train_items: np.ndarray,
    train_features: Sequence[str],
    train_sentences: Sequence[str],
    test_items: np.ndarray,
    test_features: Sequence[str],
) -> list[tuple[str, list[str]]]:
    """The sentence that stands most often in training, and one of training that is about the same feature word.

    "sentence of the feature" is the training sentence that is most frequent for this item and feature; where there is
    none, for this feature; where there is none, of all. Of equally frequent ones the first in training counts.

    Args:
      train_items: i32[n].
      train_features: n feature words.
      train_sentences: n sentences, at least one.
      test_items: i32[m].
      test_features: m feature words.
    Returns:
      Names and a text for each test example.
    Raises:
      ValueError: there is no training sentence, or lengths differ.
    """
    if not len(train_sentences):
        raise ValueError("train_sentences is empty; leave the task out where training has no sentence")
    if not len(train_items) == len(train_features) == len(train_sentences) or len(test_items) != len(test_features):
        raise ValueError(
            f"items, features and sentences must be as many; came {len(train_items)}, {len(train_features)} and "
            f"{len(train_sentences)} in training, {len(test_items)} and {len(test_features)} in test"
        )
    items, asked = np.asarray(train_items).tolist(), np.asarray(test_items).tolist()
    common = _most_frequent((None, text) for text in train_sentences)[None]
    of_feature = _most_frequent(zip(train_features, train_sentences))
    of_both = _most_frequent(zip(zip(items, train_features), train_sentences))
    told = [of_both.get((i, f), of_feature.get(f, common)) for i, f in zip(asked, test_features)]
    return [("most frequent sentence", [common] * len(told)), ("sentence of the feature", told)]


def _most_frequent(pairs: Iterable[tuple[Hashable, str]]) -> dict[Hashable, str]:
    """The text that stands most often under each key; of equally frequent ones the one that came first."""
    counts: dict[Hashable, dict[str, int]] = {}
    for key, text in pairs:
        of_key = counts.setdefault(key, {})
        of_key[text] = of_key.get(text, 0) + 1
    return {key: max(of_key, key=lambda text: of_key[text]) for key, of_key in counts.items()}


def _tf_idf(known: Sequence[str], *others: Sequence[str], longest: int, least: int) -> list[Any] | None:
    """Unit vectors of texts, sparse f64[n,W] each, over words of `known`; None where they hold none.

    Args:
      known: whose words are counted.
      others: more texts.
      longest: 2 = pairs of words too.
      least: texts that a word must stand in; 1 where none stands in as many.
    """
    for texts_at_least in (least, 1):
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, longest), min_df=texts_at_least)
        try:
            vectors = words.fit_transform(known)
        except ValueError:  # no word is left
            continue
        return [vectors, *(words.transform(texts) for texts in others)]
    return None


def _nearest(known: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """The number of the known text with the highest cosine of tf-idf to each text, i64[m]; -1: no word shared."""
    found = np.full(len(asked), -1)
    made = _tf_idf(known, asked, longest=1, least=1) if len(asked) else None
    if made is None:
        return found
    vectors, queries = made
    step = max(1, BLOCK // len(known))
    for start in range(0, len(asked), step):
        cosines = (queries[start : start + step] @ vectors.T).toarray()
        best = cosines.argmax(axis=1)
        found[start : start + step] = np.where(cosines[np.arange(len(best)), best] > 0, best, -1)
    return found
