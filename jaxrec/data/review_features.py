"""Explanations from reviews: a feature word of the product, and a sentence that mentions it."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

LEAST = 5
"""Minimum number of reviews in which a word must occur as a head noun."""
HEADS = 0.1
"""Minimum share of a word's reviews in which it is a head noun; adjectives and verbs have less."""
WORDS = (4, 25)
"""Minimum and maximum number of words of an explanation."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[.!?])(?=[A-Z])|\n+")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_HEAD = re.compile(
    r"\b(?:the|this|these|those|its|my|their|your|his|her) ([a-z]{3,})"
    r"(?=[.,;:!?]|$| (?:is|are|was|were|has|have|had|and|or|but|of|on|in|for|to|with|that|which)\b)"
)


def sentences(review: str) -> list[str]:
    """The sentences of a review, split after `.`, `!` and `?` (also where the space is missing) and at line ends."""
    return [part.strip() for part in _SENTENCE.split(review) if part.strip()]


def feature_words(reviews: Sequence[str]) -> list[str]:
    """Feature words of the reviews, most frequent first, ties in alphabetical order.

    A simple rule instead of a part-of-speech tagger: a word after an article or possessive and before a verb,
    preposition, conjunction or the end ("the *strap* is", "its *tone*.") is the head of a noun phrase. A feature word
    is a head in at least `LEAST` reviews and in a share `HEADS` of the reviews that use it, and not an English stop
    word.

    Args:
      reviews: those of training events only; held-out reviews must not influence the features.
    """
    heads: collections.Counter[str] = collections.Counter()
    uses: collections.Counter[str] = collections.Counter()
    for review in reviews:
        text = review.lower()
        heads.update(set(_HEAD.findall(text)))
        uses.update(set(_WORD.findall(text)))
    features = [w for w, n in heads.items() if n >= LEAST and n >= HEADS * uses[w] and w not in ENGLISH_STOP_WORDS]
    return sorted(features, key=lambda word: (-heads[word], word))


def explanations(reviews: Sequence[str], features: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each review, the first sentence of 4 to 25 words that contains a feature, and the first feature in it.

    Args:
      reviews: n texts.
      features: of `feature_words`.
    Returns:
      Features object[n] and sentences object[n], both "" where a review has none.
    """
    feature_set = frozenset(features)
    feature, sentence = np.full(len(reviews), "", object), np.full(len(reviews), "", object)
    for row, review in enumerate(reviews):
        for candidate in sentences(review):
            words = _WORD.findall(candidate.lower())
            named = next((word for word in words if word in feature_set), None)
            if named is not None and WORDS[0] <= len(words) <= WORDS[1]:
                feature[row], sentence[row] = named, candidate
                break
    return feature, sentence
