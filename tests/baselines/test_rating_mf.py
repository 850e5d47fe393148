"""Matrix factorisation of ratings finds planted structure, equals a loop, and keeps to its range and seed."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from jaxrec.baselines import rating_mf as module
from jaxrec.baselines.rating_mf import RatingMf, RatingMfConfig, Stars, fit_rating_mf

USERS, ITEMS = 60, 40
CONFIG = RatingMfConfig(dim=4, regularization=0.01, learning_rate=2e-2, batch=256, epochs=40)


@pytest.fixture(scope="module")
def parts() -> list[Stars]:
    """Ratings of biases and one factor, plus a little noise, in three parts."""
    rng = np.random.default_rng(0)
    bias, taste = rng.normal(0, 0.5, USERS), rng.normal(0, 1, USERS)
    kind = rng.normal(0, 1, ITEMS)
    user, item = (a.ravel().astype(np.int32) for a in np.meshgrid(np.arange(USERS), np.arange(ITEMS)))
    rating = 3 + bias[user] + taste[user] * kind[item] + rng.normal(0, 0.1, len(user))
    order = rng.permutation(len(user))
    return [Stars(user[rows], item[rows], rating[rows]) for rows in np.split(order, [1600, 2000])]


def rmse(model: RatingMf, part: Stars) -> float:
    return float(np.sqrt(np.mean((model(part.user, part.item) - part.rating) ** 2)))


def test_planted_factors_are_found(parts) -> None:
    train, valid, test = parts
    model = fit_rating_mf(train, valid, USERS, ITEMS, CONFIG)
    no_factors = fit_rating_mf(train, valid, USERS, ITEMS, dataclasses.replace(CONFIG, regularization=10.0))
    assert rmse(model, test) < 0.3 < 0.9 < rmse(no_factors, test)
    assert test.rating.std() > 1


def test_a_prediction_is_the_sum_of_its_parts(parts) -> None:
    train, valid, test = parts
    model = fit_rating_mf(train, valid, USERS, ITEMS, dataclasses.replace(CONFIG, epochs=2))
    p = {name: np.asarray(value) for name, value in model.params.items()}
    actual = model(test.user, test.item)
    for user, item, score in list(zip(test.user, test.item, actual))[:50]:
        want = train.rating.mean() + p["user_bias"][user] + p["item_bias"][item] + p["user"][user] @ p["item"][item]
        np.testing.assert_allclose(score, np.clip(want, train.rating.min(), train.rating.max()), atol=1e-5)
    narrow = RatingMf(model.params, model.mean, 2.9, 3.1)(test.user, test.item)
    assert narrow.min() == 2.9
    assert narrow.max() == 3.1


def test_an_epoch_of_one_step_equals_adam_on_the_written_out_gradient(parts) -> None:
    train, _, _ = parts
    few = Stars(train.user[:50], train.item[:50], train.rating[:50] - train.rating.mean())
    config = dataclasses.replace(CONFIG, batch=64)  # so that 14 places are padding
    params = module._init(USERS, ITEMS, 4, key=jax.random.key(1))
    events = few.user, few.item, few.rating.astype(np.float32)
    optimizer = optax.adam(config.learning_rate)
    actual, _ = module._epoch(params, optimizer.init(params), events, config, key=jax.random.key(2))
    old = {name: np.asarray(value, np.float64) for name, value in params.items()}
    gradient = {name: np.zeros_like(value) for name, value in old.items()}
    for u, i, r in zip(*events):
        error = r - old["user_bias"][u] - old["item_bias"][i] - old["user"][u] @ old["item"][i]
        pull = config.regularization
        gradient["user_bias"][u] += (-2 * error + 2 * pull * old["user_bias"][u]) / 50
        gradient["item_bias"][i] += (-2 * error + 2 * pull * old["item_bias"][i]) / 50
        gradient["user"][u] += (-2 * error * old["item"][i] + 2 * pull * old["user"][u]) / 50
        gradient["item"][i] += (-2 * error * old["user"][u] + 2 * pull * old["item"][i]) / 50
    for name, value in actual.items():  # Adam's first step: the gradient over its own size
        want = old[name] - config.learning_rate * gradient[name] / (np.abs(gradient[name]) + 1e-8)
        np.testing.assert_allclose(value, want, atol=1e-5)


def test_seeds_and_the_best_epoch(parts) -> None:
    train, valid, test = parts
    config = dataclasses.replace(CONFIG, epochs=3)
    one, again, other = (fit_rating_mf(train, valid, USERS, ITEMS, config, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one(test.user, test.item), again(test.user, test.item))
    assert (one(test.user, test.item) != other(test.user, test.item)).any()
    wrong = Stars(valid.user, valid.item, np.full(len(valid.rating), train.rating.mean()))
    kept = fit_rating_mf(train, wrong, USERS, ITEMS, config)  # no epoch is better than the mean here
    np.testing.assert_allclose(kept(test.user, test.item), train.rating.mean(), atol=0.1)


def test_clear_errors(parts) -> None:
    train, valid, _ = parts
    with pytest.raises(ValueError, match=r"train\.item holds 0\.\.39; numbers are 0\.\.29"):
        fit_rating_mf(train, valid, USERS, 30, CONFIG)
    nothing = Stars(valid.user[:0], valid.item[:0], valid.rating[:0])
    with pytest.raises(ValueError, match="valid holds no rating"):
        fit_rating_mf(train, nothing, USERS, ITEMS, CONFIG)
    with pytest.raises(ValueError, match=r"train\.rating holds values that are not finite"):
        fit_rating_mf(dataclasses.replace(train, rating=train.rating * np.nan), valid, USERS, ITEMS, CONFIG)
    with pytest.raises(ValueError, match="of one length"):
        Stars(train.user, train.item[1:], train.rating)
