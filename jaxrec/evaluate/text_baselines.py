"""Baselines of ratings and texts that read no language: means and biases, frequent texts, sentences of a feature."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from jaxrec.models.rating_mf import Stars, check

REGULARIZERS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""What `rating_baselines` chooses from on validation ratings."""

ROUNDS = 1000
TOLERANCE = 1e-6
"""Rounds of `biases` at most, and the largest change of a bias, in stars, at which they end."""


def rating_baselines(
    train: Stars, valid: Stars, test: Stars, n_users: int, n_items: int
) -> list[tuple[str, np.ndarray]]:
    """The training mean, and the mean with a bias of each user and item.

    The regulariser of the biases is the one of `REGULARIZERS` with the lowest RMSE on `valid`, the smaller one where
    they tie; nothing else is learned from `valid`.

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
    return [("global mean", np.full(len(test.rating), mean)), ("user + item bias", best)]


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


def summary_baselines(train_summaries: Sequence[str], test_reviews: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The summary that stands most often in training, and the first sentence of the review.

    Args:
      train_summaries: of the training reviews, at least one; of equally frequent ones the first counts.
      test_reviews: what is to be summarised.
    Returns:
      Names and a text for each test review.
    Raises:
      ValueError: there is no training summary.
    """
    if not len(train_summaries):
        raise ValueError("train_summaries is empty; leave the task out where no training review has a summary")
    common = _most_frequent((None, text) for text in train_summaries)[None]
    return [
        ("most frequent summary", [common] * len(test_reviews)),
        ("lead sentence", [lead_sentence(text) for text in test_reviews]),
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
