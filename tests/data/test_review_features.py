"""Feature words and the sentences about them."""

import pytest

from jaxrec.data import review_features


def test_sentences_end_at_marks_and_lines_even_without_a_space() -> None:
    assert review_features.sentences("It works.As an added bonus, it smells! Really?\nYes") == [
        "It works.",
        "As an added bonus, it smells!",
        "Really?",
        "Yes",
    ]
    assert review_features.sentences("Costs 3.50 at most") == ["Costs 3.50 at most"]
    assert review_features.sentences(" ") == []


REVIEWS = [
    "The strap is great and the tone was fine.",
    "I love this strap. Its tone, though, is thin.",
    "My strap broke. The great tone is gone.",
    "That strap and the strap of my friend are good; the tone is good.",
    "Great, great, great: the strap of my life, the tone of my dreams.",
    "The best of all.",
] * 2


def test_features_are_heads_of_noun_phrases() -> None:
    features = review_features.feature_words(REVIEWS)
    assert features[:2] == ["tone", "strap"] or features[:2] == ["strap", "tone"]
    assert "great" not in features  # stands behind an article, but before a noun
    assert "this" not in features
    assert review_features.feature_words(REVIEWS[:4]) == []  # too few reviews


def test_explanation_is_the_first_sentence_that_names_a_feature() -> None:
    feature, sentence = review_features.explanations(
        ["I like it. Then the tone of this strap is warm. The strap broke.", "Nothing here.", "A strap."],
        ["strap", "tone"],
    )
    assert feature.tolist() == ["tone", "", ""]  # three words are too few to explain
    assert sentence.tolist() == ["Then the tone of this strap is warm.", "", ""]


@pytest.mark.parametrize("words", [3, 4, 25, 26])
def test_length_of_a_sentence(words: int) -> None:
    feature, _ = review_features.explanations([" ".join(["strap"] * words)], ["strap"])
    assert (feature[0] == "strap") == (4 <= words <= 25)
