"""Baselines of ratings and texts against scikit-learn, gradients and values worked by hand."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from jaxrec.baselines import texts as module
from jaxrec.baselines.texts import (
    Stars,
    explanation_baselines,
    fit_biases,
    lead_sentence,
    preference_baselines,
    rating_baselines,
    summary_baselines,
)

USERS, ITEMS = 12, 9


@pytest.fixture
def parts() -> list[Stars]:
    """180 ratings of biases and noise in three parts; the last user and item have none in training."""
    rng = np.random.default_rng(0)
    of_user, of_item = rng.normal(0, 1, USERS), rng.normal(0, 1, ITEMS)
    user, item = (rng.integers(0, n, 180).astype(np.int32) for n in (USERS, ITEMS))
    rating = np.clip(np.round(3 + of_user[user] + of_item[item] + rng.normal(0, 0.5, 180)), 1, 5)
    known = (user < USERS - 1) & (item < ITEMS - 1)
    order = np.argsort(~known, kind="stable")
    return [Stars(user[rows], item[rows], rating[rows]) for rows in np.split(order, [90, 130])]


@pytest.mark.parametrize("regularizer", [0.1, 3.0])
def test_biases_equal_ridge_regression(parts, regularizer) -> None:
    train = parts[0]
    columns = np.zeros((len(train.rating), USERS + ITEMS))
    columns[np.arange(len(columns)), train.user] = columns[np.arange(len(columns)), USERS + train.item] = 1
    ridge = Ridge(alpha=regularizer, fit_intercept=False).fit(columns, train.rating - train.rating.mean())
    np.testing.assert_allclose(np.concatenate(fit_biases(train, USERS, ITEMS, regularizer)), ridge.coef_, atol=1e-4)


def test_one_bias_worked_by_hand() -> None:
    """Mean 3; one user with ratings 4 and 2 of two items, regulariser 1: b_u = 0, b_i = +-1/2."""
    of_user, of_item = fit_biases(Stars(np.zeros(2, int), np.arange(2), np.array([4.0, 2.0])), 1, 3, 1.0)
    np.testing.assert_allclose(of_user, [0], atol=1e-12)
    np.testing.assert_allclose(of_item, [0.5, -0.5, 0], atol=1e-12)


def test_the_regularizer_is_the_best_on_validation(parts) -> None:
    train, valid, test = parts
    (mean_name, mean), (median_name, median), (name, actual) = rating_baselines(train, valid, test, USERS, ITEMS)
    assert (mean_name, median_name, name) == ("global mean", "global median", "user + item bias")
    np.testing.assert_allclose(mean, train.rating.sum() / len(train.rating))
    np.testing.assert_array_equal(median, np.full(len(test.rating), np.sort(train.rating)[[44, 45]].mean()))

    def predict(part: Stars, regularizer: float) -> np.ndarray:
        of_user, of_item = fit_biases(train, USERS, ITEMS, regularizer)
        all_of_it = train.rating.mean() + of_user[part.user] + of_item[part.item]
        return np.minimum(np.maximum(all_of_it, train.rating.min()), train.rating.max())

    errors = {r: ((predict(valid, r) - valid.rating) ** 2).mean() for r in module.REGULARIZERS}
    best = min(errors, key=lambda r: errors[r])
    assert len(set(errors.values())) > 3
    np.testing.assert_allclose(actual, predict(test, best), atol=1e-6)
    assert train.rating.min() <= actual.min() <= actual.max() <= train.rating.max()
    assert ((actual - test.rating) ** 2).mean() < ((mean - test.rating) ** 2).mean()


def test_ratings_beyond_the_tables_and_empty_parts_are_refused(parts) -> None:
    train, valid, test = parts
    with pytest.raises(ValueError, match=r"test\.user holds"):
        rating_baselines(train, valid, test, USERS - 1, ITEMS)
    with pytest.raises(ValueError, match="valid holds no rating"):
        rating_baselines(train, Stars(*(np.zeros(0, t) for t in (int, int, float))), test, USERS, ITEMS)


@pytest.mark.parametrize(
    ("review", "lead"),
    [
        ("It broke. I sent it back.", "It broke."),
        ("Version 2.5 is fine!! Buy it", "Version 2.5 is fine!!"),
        ("no end at all", "no end at all"),
        ("a headline\nthen a text.", "a headline"),
        ("  \n Really?\r\nYes.", "Really?"),
        ("", ""),
    ],
)
def test_lead_sentences(review, lead) -> None:
    assert lead_sentence(review) == lead


def of_stars(rating) -> Stars:
    return Stars(np.zeros(len(rating), int), np.zeros(len(rating), int), np.asarray(rating, float))


@pytest.fixture
def reviews() -> list[tuple[list[str], Stars]]:
    """60, 30 and 30 reviews of seven words each, whose stars the words tell but for noise."""
    rng = np.random.default_rng(1)
    effects = {"awful": -1.5, "poor": -0.7, "fine": 0.6, "great": 1.4} | dict.fromkeys(
        ("the", "pick", "cable", "amp"), 0
    )
    parts = []
    for size in (60, 30, 30):
        texts = [" ".join(rng.choice(list(effects), 7)) for _ in range(size)]
        rating = [3 + sum(effects[word] for word in text.split()) + rng.normal(0, 1.0) for text in texts]
        parts.append((texts, of_stars(np.clip(np.round(rating), 1, 5))))
    return parts


def test_words_tell_stars_with_the_penalty_that_is_best_on_validation(reviews, monkeypatch) -> None:
    (train_texts, train), (valid_texts, valid), (test_texts, test) = reviews
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit(train_texts)

    def predict(alpha: float, texts: list[str]) -> np.ndarray:
        ridge = Ridge(alpha=alpha, solver="cholesky").fit(words.transform(train_texts).toarray(), train.rating)
        return np.clip(ridge.predict(words.transform(texts).toarray()), train.rating.min(), train.rating.max())

    def actual() -> np.ndarray:
        [(name, actual)] = preference_baselines(train_texts, train, valid_texts, valid, test_texts)
        assert name == "words (tf-idf ridge)"
        return actual

    errors = {alpha: ((predict(alpha, valid_texts) - valid.rating) ** 2).mean() for alpha in module.ALPHAS}
    best = min(errors, key=lambda alpha: errors[alpha])
    np.testing.assert_allclose(actual(), predict(best, test_texts), atol=1e-3)
    assert ((actual() - test.rating) ** 2).mean() < 0.7 * ((train.rating.mean() - test.rating) ** 2).mean()
    assert train.rating.min() <= actual().min() <= actual().max() <= train.rating.max()
    monkeypatch.setattr(module, "ALPHAS", (1e-6,))
    np.testing.assert_allclose(actual(), predict(1e-6, test_texts), atol=0.02)


def test_reviews_without_a_word_get_the_mean() -> None:
    """To the vectorizer "?" and "a" are no words; words of one review alone are better than none."""
    both = of_stars([2.0, 5.0])
    [(_, actual)] = preference_baselines(["?", "a"], both, ["", "!"], both, ["good", "", "so so"])
    np.testing.assert_array_equal(actual, [3.5] * 3)
    [(_, actual)] = preference_baselines(["bad", "good"], both, ["bad", "good"], both, ["bad", "good", "new"])
    assert 2 <= actual[0] < actual[2] < actual[1] <= 5
    assert len(preference_baselines(["bad", "good"], both, ["bad"], of_stars([1.0]), [])[0][1]) == 0
    with pytest.raises(ValueError, match=r"train needs a rating for each review .* 1 reviews and 2 ratings"):
        preference_baselines(["bad"], both, ["bad"], of_stars([1.0]), ["good"])
    with pytest.raises(ValueError, match="valid needs a rating"):
        preference_baselines(["bad", "good"], both, [], of_stars([]), ["good"])


def test_summaries() -> None:
    train = ["w w w", "x", "y", "z", "v"]
    actual = dict(summary_baselines(["good", "bad", "bad", "good", "ok"], train, ["One. Two.", "Three"]))
    assert actual["most frequent summary"] == ["good", "good"]
    assert actual["lead sentence"] == ["One.", "Three"]
    with pytest.raises(ValueError, match="train_summaries is empty"):
        summary_baselines([], [], ["One."])
    with pytest.raises(ValueError, match="length: 1 and 2"):
        summary_baselines(["good"], ["One.", "Two."], [])


@pytest.mark.parametrize("block", [1, 1000])
def test_the_summary_of_the_nearest_review(block, monkeypatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    train = ["strings that broke", "a bright tone", "bright strings, warm tone", "a bright tone", "strings, strings"]
    queries = ["Warm tone with bright strings", "what a BRIGHT tone!", "nothing alike", "", "strings"]
    actual = dict(summary_baselines(["1", "2", "3", "4", "5", "4"], [*train, "?"], queries))[
        "title of the nearest review"
    ]
    # Reviews 2 and 4 are one text, so the first of them counts; without a shared word it is the most frequent summary.
    assert actual == ["3", "2", "4", "4", "5"]
    assert dict(summary_baselines(["1"], ["?"], ["?"]))["title of the nearest review"] == ["1"]
    assert dict(summary_baselines(["1"], ["a word"], []))["title of the nearest review"] == []


def test_explanations() -> None:
    items = np.array([0, 0, 0, 1, 1, 2, 2])
    features = ["taste", "taste", "taste", "taste", "taste", "size", "size"]
    sentences = ["a", "b", "b", "c", "c", "c", "d"]
    queries = np.array([0, 1, 5, 0, 0])
    actual = dict(
        explanation_baselines(items, features, sentences, queries, ["taste", "taste", "taste", "size", "new"])
    )
    # "b" leads for item 0; of "taste" at large "b" and "c" tie and "b" came first; of "size" "c" came first.
    assert actual["sentence of the feature"] == ["b", "c", "b", "c", "c"]
    assert actual["most frequent sentence"] == ["c"] * 5
    assert dict(explanation_baselines(items, features, sentences, queries[:0], []))["sentence of the feature"] == []
    with pytest.raises(ValueError, match="equally many"):
        explanation_baselines(items, features[1:], sentences, queries, ["taste"] * 5)
    with pytest.raises(ValueError, match="train_sentences is empty"):
        explanation_baselines(items[:0], [], [], queries, ["taste"] * 5)
