"""Training and scoring of baselines that know users and items but no order: NeuMF and EASE."""

from __future__ import annotations

import math
import os

import jax
import numpy as np
import optax
from flax import nnx

from jaxrec.baselines.models import ease
from jaxrec.baselines.models.ncf import NcfConfig, NeuMf, ncf_loss
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.validation import validate_scores, validation_users
from jaxrec.keys import stream
from jaxrec.models.lightgcn import events
from jaxrec.models.sparse import edges
from jaxrec.progress import logger
from jaxrec.training.loop import fit
from jaxrec.training.plan import Plan
from jaxrec.training.state import functional, rebuilder
from jaxrec.types import Array, Histories, Split


def train_ncf(split: Split, config: NcfConfig, *, seed: int, folder: str | os.PathLike[str] | None = None) -> Scorer:
    """NeuMF on the distinct training events, the best NDCG@10 on the validation items selecting.

    Args:
      split: training histories, and the validation items that select.
      config: shape and training.
      seed: of starting values, order, negatives and the users that validate.
      folder: where checkpoints and metrics go; a killed run goes on from there. None keeps nothing.
    Raises:
      ValueError: there is no training event, or nobody has an item that selects.
    """
    train = split.train
    pairs = edges(train.users, train.items, train.n_items)
    if not len(pairs):
        raise ValueError("histories hold no event to learn from; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "baseline")
    model = NeuMf(
        config,
        train.n_users,
        train.n_items,
        events(pairs, train.n_users),
        rngs=nnx.Rngs(params=stream(jax.random.key(seed), "weights")),
    )
    params, buffers, loss_fn = functional(model, ncf_loss)
    rebuild = rebuilder(model)
    users = np.sort(validation_users(split, config.validate_users, seed))
    steps = math.ceil(config.epochs * len(pairs) / config.batch)
    batches = ShuffledBatches(np.arange(len(pairs), dtype=np.int32), batch=config.batch, batches=steps, seed=seed)
    fitted = fit(
        loss_fn,
        params,
        buffers,
        optax.chain(optax.add_decayed_weights(config.regularization), optax.adam(config.learning_rate)),
        batches.dataset(),
        Plan(
            steps,
            name="NeuMF",
            validate_every=max(1, round(config.validate_every * len(pairs) / config.batch)),
            patience=config.patience,
        ),
        key=key,
        folder=folder,
        count=lambda batch: {"examples": len(batch)},
        validate=lambda params, buffers: validate_scores(ncf_scorer(rebuild(params, buffers)), split, users),
    )
    return ncf_scorer(rebuild(fitted.best_params, fitted.buffers))


def ncf_scorer(model: NeuMf) -> Scorer:
    """Logits of users with all items."""
    sizes = model.user_embedding.shape[0], model.item_embedding.shape[0]

    def score(histories: Histories, users: np.ndarray) -> Array:
        if (histories.n_users, histories.n_items) != sizes:
            raise ValueError(
                f"histories are of {histories.n_users} users and {histories.n_items} items, the model of {sizes[0]} "
                f"and {sizes[1]}; take both from one split"
            )
        return _scores(model, users)

    return score


@jax.jit
def _scores(model: NeuMf, users: Array) -> jax.Array:
    return model.scores(users)


def train_ease(split: Split, config: ease.EaseConfig) -> Scorer:
    """EASE on the training events, the lambda with the best NDCG@10 on the validation items.

    Raises:
      ValueError: no lambda is given, or one is not above 0; several are, and nobody has an item that selects.
    """
    if not config.regularization:
        raise ValueError("ease.regularization holds none; give at least one, 200 say")
    x = ease.bought(split.train)
    best, found = -1.0, None
    for regularization in config.regularization:
        score = ease_scorer(ease.weights(x, regularization))
        if len(config.regularization) == 1:
            return score
        value = validate_scores(score, split)["ndcg@10"]
        logger.info("EASE: lambda %g: valid/ndcg@10 %.4f", regularization, value)
        if value > best:
            best, found = value, score
    assert found is not None  # an NDCG is at least 0
    return found


def ease_scorer(weights: np.ndarray) -> Scorer:
    """The sum of the weights' rows over a history's distinct items; f32[I, I]."""

    def score(histories: Histories, users: np.ndarray) -> np.ndarray:
        if histories.n_items != len(weights):
            raise ValueError(
                f"histories are over {histories.n_items} items, but EASE was trained on {len(weights)}; "
                "take both from one split"
            )
        return np.asarray(ease.bought(histories)[users].astype(np.float32) @ weights)

    return score
