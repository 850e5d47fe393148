"""NeuMF (He et al. 2017, neural collaborative filtering): a generalised factorisation combined with a small network."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pathlib
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxrec.baselines.baseline import Baseline
from jaxrec.baselines.next_item_model import linear
from jaxrec.config.limits import LearningRate, Limits, NonNegativeInt, PositiveFloat, Probability, Width
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.validation import validate_scores, validation_users
from jaxrec.keys import stream
from jaxrec.models.dropout import Dropout
from jaxrec.models.lightgcn import Events, draw_negatives, events
from jaxrec.models.oov import Buffer
from jaxrec.models.products import dense
from jaxrec.models.skipgram import softplus
from jaxrec.models.sparse import edges
from jaxrec.training.loop import fit
from jaxrec.training.plan import Plan
from jaxrec.training.state import functional, rebuilder
from jaxrec.types import Array, Histories, Split


@dataclasses.dataclass(frozen=True)
class NcfConfig:
    """Shape and training of NeuMF; both parts are trained jointly from random weights."""

    dim: Width = 32
    """Width of the factorisation's vectors; the network's vectors have half the width of its first layer."""
    hidden: tuple[Width, ...] = (64, 32, 16)
    """Widths of the network's layers; the first reads the user's and the item's vector."""
    negatives: Annotated[int, Limits(at_least=1, at_most=1000)] = 4
    """Negatives per event: items with which the user has no event."""
    dropout: Probability = 0.0
    """Probability that a value is dropped in training."""
    batch: Annotated[int, Limits(at_least=1, at_most=1_048_576)] = 1024
    """Training events in a step."""
    learning_rate: LearningRate = 1e-3
    """Step size of Adam."""
    regularization: Annotated[float, Limits(at_least=0, at_most=100)] = 0.0
    """Weight decay, added to the gradient."""
    epochs: PositiveFloat = 60
    """Passes over the training events."""
    validate_every: PositiveFloat = 2
    """Epochs between validations."""
    validate_users: NonNegativeInt = 2000
    """Users per validation, drawn once; 0 takes all."""
    patience: NonNegativeInt = 5
    """Validations without a higher NDCG@10 before training stops; 0 never stops early."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of matrix products; parameters, softmax, norms and loss are always float32."""


class NeuMf(nnx.Module):
    """Scores of pairs: h' [p_u * q_i ; network([p'_u ; q'_i])]; NCF, eq. 12.

    Args:
      config: shape and training.
      n_users: U.
      n_items: I.
      train_events: the training events, from which pairs and negatives are drawn.
    """

    def __init__(self, config: NcfConfig, n_users: int, n_items: int, train_events: Events, *, rngs: nnx.Rngs) -> None:
        def table(rows: int, dim: int) -> nnx.Param:
            return nnx.Param(0.1 * jax.random.normal(rngs.params(), (rows, dim)))

        half = config.hidden[0] // 2
        self.config = config
        self.user_embedding, self.item_embedding = (
            table(n_users, config.dim),
            table(n_items, config.dim),
        )
        self.user_inner_embedding, self.item_inner_embedding = (
            table(n_users, half),
            table(n_items, half),
        )
        widths = [2 * half, *config.hidden]
        self.layers = nnx.List([linear(a, b, config.compute_dtype, rngs=rngs) for a, b in itertools.pairwise(widths)])
        self.output = linear(config.dim + config.hidden[-1], 1, config.compute_dtype, rngs=rngs)
        self.known = Buffer(jax.tree.map(jnp.asarray, train_events))

    def __call__(self, users: Array, items: Array, *, key: jax.Array | None = None) -> jax.Array:
        """Logits of pairs, users i32[B] and items i32[B] -> f32[B]."""
        drop = Dropout(self.config.dropout, key)
        inner = jnp.concatenate([self.user_inner_embedding[...][users], self.item_inner_embedding[...][items]], axis=1)
        for layer in self.layers:
            inner = drop(jax.nn.relu(layer(inner, drop)))
        product = self.user_embedding[...][users] * self.item_embedding[...][items]
        return self.output(jnp.concatenate([product, inner], axis=1), drop)[:, 0]

    def scores(self, users: Array) -> jax.Array:
        """Logits of users with all items, i32[B] -> f32[B, I], without concatenating vectors for each pair."""
        first, *layers = self.layers
        assert first.bias is not None
        half, none = self.user_inner_embedding.shape[1], Dropout(0, None)
        kernel, dtype = first.kernel[...], self.config.compute_dtype
        of_user = dense(self.user_inner_embedding[...][users], kernel[:half], dtype) + first.bias[...][None]
        of_item = dense(self.item_inner_embedding[...], kernel[half:], dtype)
        assert self.output.bias is not None
        weight, dim = self.output.kernel[...], self.config.dim
        factors = dense(self.user_embedding[...][users] * weight[None, :dim, 0], self.item_embedding[...].T, dtype)

        def of_one(user: jax.Array) -> jax.Array:
            inner = jax.nn.relu(user[None] + of_item)
            for layer in layers:
                inner = jax.nn.relu(layer(inner, none))
            return dense(inner, weight[dim:], dtype)[:, 0]

        return factors + jax.lax.map(of_one, of_user) + self.output.bias[...][None]


def ncf_loss(model: NeuMf, batch: Array, key: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Binary cross-entropy of events and sampled negatives; NCF, eq. 7.

    Args:
      model: the model, which holds the events.
      batch: numbers of events, i32[B].
      key: of negatives and dropout; None draws by a fixed key and uses no dropout.
    Returns:
      The mean over events and negatives, f32[], and no further metrics.
    """
    config, train_events = model.config, model.known.get_value()
    draw = jax.random.key(0) if key is None else key
    users, items = train_events.pairs[batch, 0], train_events.pairs[batch, 1]
    n_items, repeated = model.item_embedding.shape[0], jnp.tile(users, config.negatives)
    negatives = draw_negatives(train_events, repeated, n_items, key=jax.random.fold_in(draw, 1))
    weight = jnp.concatenate([jnp.ones(len(users)), (train_events.degree[repeated] < n_items).astype(jnp.float32)])
    logits = model(jnp.concatenate([users, repeated]), jnp.concatenate([items, negatives]), key=key)
    sign = jnp.where(jnp.arange(len(logits)) < len(users), -1.0, 1.0)
    return (weight * softplus(sign * logits)).sum() / weight.sum(), {}


def train_ncf(split: Split, config: NcfConfig, *, seed: int, folder: str | os.PathLike[str] | None = None) -> Scorer:
    """Trains NeuMF on the distinct training events; keeps the weights with the best NDCG@10 on the validation items.

    Args:
      split: training histories and validation items.
      config: shape and training.
      seed: of initial weights, order, negatives and validation users.
      folder: for checkpoints and metrics, from which a killed run resumes; None keeps nothing.
    Raises:
      ValueError: there is no training event, or nobody has a validation item.
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
    """Scores users by their logits with all items."""
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


def _train(settings: NcfConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    return train_ncf(split, settings, seed=seed, folder=folder)


BASELINE = Baseline("NCF", NcfConfig(), _train)
