"""Baselines for ratings and texts without a language model: means and biases, word regression, training texts."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from jaxrec.baselines.rating_mf import Stars, check_ratings

REGULARIZERS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Regularisers among which `rating_baselines` chooses on the validation ratings."""

ALPHAS = (0.3, 1.0, 3.0, 10.0)
"""Ridge penalties among which `preference_baselines` chooses on the validation ratings."""

ROUNDS = 1000
TOLERANCE = 1e-6
"""Maximum number of rounds of `fit_biases`, and the change of a bias, in stars, below which it stops."""
BLOCK = 4_000_000
"""Cosines in memory at a time."""


def rating_baselines(
    train: Stars, valid: Stars, test: Stars, n_users: int, n_items: int
) -> list[tuple[str, np.ndarray]]:
    """The training mean, the training median, and the mean with a bias of each user and item.

    The median is the best constant for MAE, as the mean is for RMSE. The regulariser of the biases is the one of
    `REGULARIZERS` with the lowest RMSE on `valid`, the smaller one of ties; `valid` is used for nothing else.

    Args:
      train: training ratings.
      valid: validation ratings, on which the regulariser is chosen.
      test: pairs to predict; its ratings are not read.
      n_users: U.
      n_items: I.
    Returns:
      Names and predictions f64[n] for `test`, clipped to the range of the training ratings.
    Raises:
      ValueError: a part is empty, or a user or item is out of range.
    """
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        check_ratings(name, part, n_users, n_items)
    mean, low, high = (float(f(train.rating)) for f in (np.mean, np.min, np.max))

    def predict(part: Stars, of_user: np.ndarray, of_item: np.ndarray) -> np.ndarray:
        return np.clip(mean + of_user[part.user] + of_item[part.item], low, high)

    candidates = []
    for regularizer in REGULARIZERS:
        user_and_item = fit_biases(train, n_users, n_items, regularizer)
        error = np.mean(np.square(predict(valid, *user_and_item) - valid.rating))
        candidates.append((error, predict(test, *user_and_item)))
    best = min(candidates, key=lambda pair: pair[0])[1]
    constants = ("global mean", mean), ("global median", float(np.median(train.rating)))
    return [(name, np.full(len(test.rating), value)) for name, value in constants] + [("user + item bias", best)]


def fit_biases(train: Stars, n_users: int, n_items: int, regularizer: float) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares biases of users f64[U] and items f64[I]; 0 without ratings.

    Koren, Bell and Volinsky 2009, eq. 3, with the loss of the baseline estimates of Koren 2008, section 2.1: minimises
    sum (r - mu - b_u - b_i)^2 + regularizer (sum b_u^2 + sum b_i^2), mu the training mean. Users and items are solved
    in turn, b = sum of residuals / (regularizer + number of ratings), until convergence.

    Args:
      train: the ratings.
      n_users: U.
      n_items: I.
      regularizer: above 0.
    """
    residuals = train.rating - train.rating.mean()
    of_user, of_item = np.zeros(n_users), np.zeros(n_items)
    user_counts, item_counts = np.bincount(train.user, minlength=n_users), np.bincount(train.item, minlength=n_items)
    for _ in range(ROUNDS):
        new_item = np.bincount(train.item, residuals - of_user[train.user], n_items) / (regularizer + item_counts)
        new_user = np.bincount(train.user, residuals - new_item[train.item], n_users) / (regularizer + user_counts)
        change = max(np.abs(new_item - of_item).max(), np.abs(new_user - of_user).max())
        of_user, of_item = new_user, new_item
        if change < TOLERANCE:
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
    and Schuetze 2008, section 6.4.1), of terms in at least two training reviews. The penalty is the one of
    `ALPHAS` with the lowest RMSE on `valid`, the smaller one of ties.

    Args:
      train_reviews: n reviews.
      train: their ratings; users and items are not read.
      valid_reviews: reviews on which the penalty is chosen.
      valid: their ratings.
      test_reviews: m reviews.
    Returns:
      A name and predictions f64[m], clipped to the range of the training ratings; the training mean if the training
      reviews hold no word.
    Raises:
      ValueError: training or validation is empty, or there are not as many reviews as ratings.
    """
    for name, texts, part in (("train", train_reviews, train), ("valid", valid_reviews, valid)):
        if not len(texts) or len(texts) != len(part.rating):
            raise ValueError(
                f"{name} needs a rating for each review and at least one; got {len(texts)} reviews and "
                f"{len(part.rating)} ratings"
            )
    name, (mean, low, high) = "words (tf-idf ridge)", (float(f(train.rating)) for f in (np.mean, np.min, np.max))
    matrices = _tf_idf(train_reviews, valid_reviews, test_reviews, longest=2, least=2) if len(test_reviews) else None
    if matrices is None:
        return [(name, np.full(len(test_reviews), mean))]
    vectors, of_valid, of_test = matrices
    candidates = []
    for alpha in ALPHAS:
        ridge = Ridge(alpha=alpha).fit(vectors, train.rating)
        error = np.mean(np.square(np.clip(ridge.predict(of_valid), low, high) - valid.rating))
        candidates.append((error, np.clip(ridge.predict(of_test), low, high)))
    return [(name, min(candidates, key=lambda pair: pair[0])[1])]


def summary_baselines(
    train_summaries: Sequence[str], train_reviews: Sequence[str], test_reviews: Sequence[str]
) -> list[tuple[str, list[str]]]:
    """The most frequent training summary, the review's first sentence, and the most similar review's summary.

    "title of the nearest review" is the summary of the training review with the highest tf-idf cosine, the first of
    ties. A review that shares no word with any gets the most frequent summary. It is the baseline "IR"
    of Rush, Chopra and Weston 2015, section 7.2, who rank by BM25.

    Args:
      train_summaries: n summaries, n >= 1; of equally frequent ones the first counts.
      train_reviews: their n reviews.
      test_reviews: reviews to summarise.
    Returns:
      Names and a text for each test review.
    Raises:
      ValueError: there is no training summary, or there are not as many as training reviews.
    """
    if not len(train_summaries):
        raise ValueError("train_summaries is empty; leave the task out where no training review has a summary")
    if len(train_summaries) != len(train_reviews):
        raise ValueError(
            f"train_summaries and train_reviews differ in length: {len(train_summaries)} and {len(train_reviews)}"
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
    """The text up to the first run of ".", "!" or "?" before white space, or the first line break; else all of it."""
    text = text.strip()
    match = re.search(r"[.!?]+(?=\s)|\s*[\r\n]", text)
    return text if match is None else text[: match.end()].strip()


def explanation_baselines(
    train_items: np.ndarray,
    train_features: Sequence[str],
    train_sentences: Sequence[str],
    test_items: np.ndarray,
    test_features: Sequence[str],
) -> list[tuple[str, list[str]]]:
    """The most frequent training sentence, and the most frequent one about the same feature word.

    "sentence of the feature" is the most frequent training sentence for this item and feature, else for this feature,
    else of all. Of equally frequent ones the first in training counts.

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
            f"items, features and sentences must be equally many; got {len(train_items)}, {len(train_features)} and "
            f"{len(train_sentences)} in training, {len(test_items)} and {len(test_features)} in test"
        )
    train_item_list, test_item_list = np.asarray(train_items).tolist(), np.asarray(test_items).tolist()
    most_frequent = _most_frequent((None, text) for text in train_sentences)[None]
    of_feature = _most_frequent(zip(train_features, train_sentences))
    of_both = _most_frequent(zip(zip(train_item_list, train_features), train_sentences))
    sentences = [of_both.get((i, f), of_feature.get(f, most_frequent)) for i, f in zip(test_item_list, test_features)]
    return [("most frequent sentence", [most_frequent] * len(sentences)), ("sentence of the feature", sentences)]


def _most_frequent(pairs: Iterable[tuple[Hashable, str]]) -> dict[Hashable, str]:
    """The most frequent text of each key, the first of ties."""
    counts: dict[Hashable, dict[str, int]] = {}
    for key, text in pairs:
        of_key = counts.setdefault(key, {})
        of_key[text] = of_key.get(text, 0) + 1
    return {key: max(of_key, key=lambda text: of_key[text]) for key, of_key in counts.items()}


def _tf_idf(train_texts: Sequence[str], *others: Sequence[str], longest: int, least: int) -> list[Any] | None:
    """Unit tf-idf vectors of texts, sparse f64[n,W] each, over words of `train_texts`; None if they hold none.

    Args:
      train_texts: texts that define the vocabulary.
      others: more texts.
      longest: longest n-gram, 1 or 2.
      least: minimum document frequency of a word; 1 if no word reaches it.
    """
    for minimum in (least, 1):
        vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, longest), min_df=minimum)
        try:
            vectors = vectorizer.fit_transform(train_texts)
        except ValueError:  # no word is left
            continue
        return [vectors, *(vectorizer.transform(texts) for texts in others)]
    return None


def _nearest(train_texts: Sequence[str], query_texts: Sequence[str]) -> np.ndarray:
    """The number of the training text with the highest tf-idf cosine to each text, i64[m]; -1 = no shared word."""
    nearest = np.full(len(query_texts), -1)
    matrices = _tf_idf(train_texts, query_texts, longest=1, least=1) if len(query_texts) else None
    if matrices is None:
        return nearest
    vectors, queries = matrices
    step = max(1, BLOCK // len(train_texts))
    for start in range(0, len(query_texts), step):
        cosines = (queries[start : start + step] @ vectors.T).toarray()
        best = cosines.argmax(axis=1)
        nearest[start : start + step] = np.where(cosines[np.arange(len(best)), best] > 0, best, -1)
    return nearest
