"""Biased matrix factorisation, the usual baseline of rating prediction (Koren, Bell and Volinsky 2009)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config.limits import LearningRate, Limits, NonNegativeFloat, PositiveInt, Width
from jaxrec.keys import stream
from jaxrec.types import Array

Params = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Stars:
    """Ratings: user i32[n], item i32[n], rating f64[n]."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray

    def __post_init__(self) -> None:
        """Raises ValueError where lengths differ."""
        if not self.user.shape == self.item.shape == self.rating.shape or self.user.ndim != 1:
            shapes = self.user.shape, self.item.shape, self.rating.shape
            raise ValueError(f"user, item and rating must be one array [n] each, of one length; came {shapes}")


@dataclasses.dataclass(frozen=True)
class RatingMfConfig:
    """Shape and training of the factorisation; the defaults were chosen on validation ratings of MovieLens 100K."""

    dim: Width = 32
    """Width F of a vector."""
    regularization: NonNegativeFloat = 0.1
    """Weight of squared vectors and biases, per rating."""
    learning_rate: LearningRate = 2e-3
    """Step size of Adam."""
    batch: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 1024
    """Ratings in a step."""
    epochs: PositiveInt = 100
    """Maximum."""
    patience: PositiveInt = 3
    """Epochs without a better validation RMSE before training stops."""


class RatingMf:
    """mu + b_u + b_i + p_u . q_i, clipped to the range of the training ratings.

    Args:
      params: user f32[U,F], item f32[I,F], user_bias f32[U], item_bias f32[I].
      mean: mu.
      low, high: the range.
    """

    def __init__(self, params: Params, mean: float, low: float, high: float) -> None:
        self.params, self.mean, self.low, self.high = params, mean, low, high

    def __call__(self, users: Array, items: Array) -> np.ndarray:
        """Predicted ratings of pairs, i32[n] and i32[n] -> f64[n]."""
        predicted = self.mean + np.asarray(_predict(self.params, users, items), np.float64)
        return np.clip(predicted, self.low, self.high)


def fit_rating_mf(
    train: Stars, valid: Stars, n_users: int, n_items: int, config: RatingMfConfig, *, seed: int = 0
) -> RatingMf:
    """Trains with Adam and keeps the epoch with the lowest RMSE on `valid`.

    The loss is that of Koren, Bell and Volinsky 2009, eq. 5: the sum over ratings of
    (r - mu - b_u - b_i - p_u . q_i)^2 + regularization (|p_u|^2 + |q_i|^2 + b_u^2 + b_i^2), with mu the training mean.
    A user or item without a training rating keeps a bias of 0 and a vector near 0.

    Args:
      train: training ratings.
      valid: validation ratings, for early stopping.
      n_users: U.
      n_items: I.
      config: shape and training.
      seed: of initial vectors and of the order of ratings.
    Returns:
      The fitted model.
    Raises:
      ValueError: a part is empty, or a user or item is out of range.
    """
    for name, part in (("train", train), ("valid", valid)):
        check_ratings(name, part, n_users, n_items)
    key, mean = stream(jax.random.key(seed), "rating MF"), float(train.rating.mean())
    params = _init(n_users, n_items, config.dim, key=stream(key, "init"))
    model = RatingMf(params, mean, float(train.rating.min()), float(train.rating.max()))
    events = jnp.asarray(train.user), jnp.asarray(train.item), jnp.asarray(train.rating - mean, jnp.float32)
    moments = optax.adam(config.learning_rate).init(params)
    best, epochs_without_gain = _rmse(model, valid), 0
    for epoch in range(config.epochs):
        shuffle = jax.random.fold_in(stream(key, "order"), epoch)
        params, moments = _epoch(params, moments, events, config, key=shuffle)
        candidate = RatingMf(params, model.mean, model.low, model.high)
        if (rmse := _rmse(candidate, valid)) < best:
            model, best, epochs_without_gain = candidate, rmse, 0
        elif (epochs_without_gain := epochs_without_gain + 1) >= config.patience:
            break
    return model


def check_ratings(name: str, part: Stars, n_users: int, n_items: int) -> None:
    """Raises ValueError where `part`, called `name`, is empty or holds a user or an item out of range."""
    if not len(part.rating):
        raise ValueError(f"{name} holds no rating; split the data so that every part has some")
    for entity, values, size in (("user", part.user, n_users), ("item", part.item, n_items)):
        if not 0 <= values.min() <= values.max() < size:
            raise ValueError(f"{name}.{entity} holds {values.min()}..{values.max()}; numbers are 0..{size - 1}")
    if not np.isfinite(part.rating).all():
        raise ValueError(f"{name}.rating holds values that are not finite; leave such events out")


def _init(n_users: int, n_items: int, dim: int, *, key: jax.Array) -> Params:
    def table(rows: int, name: str) -> jax.Array:
        return 0.1 * dim**-0.5 * jax.random.normal(stream(key, name), (rows, dim))

    return {
        "user": table(n_users, "user"),
        "item": table(n_items, "item"),
        "user_bias": jnp.zeros(n_users),
        "item_bias": jnp.zeros(n_items),
    }


@jax.jit
def _predict(params: Params, users: Array, items: Array) -> jax.Array:
    """Predicted deviation from the mean, f32[n]."""
    factors = jnp.sum(params["user"][users] * params["item"][items], axis=-1)
    return params["user_bias"][users] + params["item_bias"][items] + factors


def _rmse(model: RatingMf, part: Stars) -> float:
    return float(np.sqrt(np.mean(np.square(model(part.user, part.item) - part.rating))))


@functools.partial(jax.jit, static_argnames="config")
def _epoch(
    params: Params,
    moments: optax.OptState,
    events: tuple[Array, Array, Array],
    config: RatingMfConfig,
    *,
    key: jax.Array,
) -> tuple[Params, optax.OptState]:
    """One pass over all ratings, in steps of `config.batch`; ratings have their mean subtracted."""
    count = events[0].shape[0]
    order = jax.random.permutation(key, count)
    order = jnp.pad(order, (0, -count % config.batch), constant_values=-1).reshape(-1, config.batch)
    optimizer = optax.adam(config.learning_rate)

    def loss(params: Params, rows: Array) -> jax.Array:
        users, items, ratings = (a[jnp.maximum(rows, 0)] for a in events)
        errors = jnp.square(ratings - _predict(params, users, items))
        squares = sum(
            jnp.sum(jnp.square(params[n][numbers]), axis=-1) for n, numbers in (("user", users), ("item", items))
        )
        squares += jnp.square(params["user_bias"][users]) + jnp.square(params["item_bias"][items])
        is_rating = (rows >= 0).astype(jnp.float32)
        return jnp.sum(is_rating * (errors + config.regularization * squares)) / jnp.sum(is_rating)

    def step(state: tuple[Params, optax.OptState], rows: Array) -> tuple[tuple[Params, optax.OptState], None]:
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params, rows), moments, params)
        updated: Params = jax.tree.map(jnp.add, params, updates)
        return (updated, moments), None

    return jax.lax.scan(step, (params, moments), order)[0]
