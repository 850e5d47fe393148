"""Explanations out of reviews: a feature word of the product, and the sentence that says something about it."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

LEAST = 5
"""Reviews in which a word stands as a feature, at least."""
HEADS = 0.1
"""Share of a word's occurrences that are heads, at least: adjectives and verbs have less."""
WORDS = (4, 25)
"""Words of a sentence that explains."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[.!?])(?=[A-Z])|\n+")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_HEAD = re.compile(
    r"\b(?:the|this|these|those|its|my|their|your|his|her) ([a-z]{3,})"
    r"(?=[.,;:!?]|$| (?:is|are|was|were|has|have|had|and|or|but|of|on|in|for|to|with|that|which)\b)"
)


def sentences(review: str) -> list[str]:
    """The sentences of a review: cut behind `.`, `!` and `?`, also where the space was forgotten, and at line ends."""
    return [part.strip() for part in _SENTENCE.split(review) if part.strip()]


def feature_words(reviews: Sequence[str]) -> list[str]:
    """Words that reviews talk about, the most frequent first, ties in the order of the alphabet.

    A stated simple rule, no tagger: a word is a feature where it stands behind an article or possessive and before a
    verb, preposition, conjunction or the end ("the *strap* is", "its *tone*."), which only the head of a noun phrase
    does. It must do so in `LEAST` reviews and in a share `HEADS` of its occurrences, and be no English stop word.

    Args:
      reviews: of training alone; what tests must not choose the features.
    """
    heads: collections.Counter[str] = collections.Counter()
    uses: collections.Counter[str] = collections.Counter()
    for review in reviews:
        text = review.lower()
        heads.update(set(_HEAD.findall(text)))
        uses.update(set(_WORD.findall(text)))
    found = [w for w, n in heads.items() if n >= LEAST and n >= HEADS * uses[w] and w not in ENGLISH_STOP_WORDS]
    return sorted(found, key=lambda word: (-heads[word], word))


def explanations(reviews: Sequence[str], features: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For every review the first sentence of 4 to 25 words that names a feature, and the first feature in it.

    Args:
      reviews: n texts.
      features: of `feature_words`.
    Returns:
      Features object[n] and sentences object[n], both "" where a review has none.
    """
    known = frozenset(features)
    feature, sentence = np.full(len(reviews), "", object), np.full(len(reviews), "", object)
    for row, review in enumerate(reviews):
        for one in sentences(review):
            words = _WORD.findall(one.lower())
            named = next((word for word in words if word in known), None)
            if named is not None and WORDS[0] <= len(words) <= WORDS[1]:
                feature[row], sentence[row] = named, one
                break
    return feature, sentence
