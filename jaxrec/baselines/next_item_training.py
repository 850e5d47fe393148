"""Training and scoring of next-item models: packed histories, training loop, validation by full ranking."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import jax
import numpy as np
import optax
from flax import nnx

from jaxrec.baselines.baseline import Baseline, attributes_for
from jaxrec.baselines.next_item_model import NextItem, SequenceConfig, next_item_loss
from jaxrec.config import NO_AUGMENTATION, AugmentConfig, TrainConfig
from jaxrec.config.limits import check_limits
from jaxrec.data.packing import Packed, packed
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.evaluate.seen_items import padded_width, seen_rows
from jaxrec.evaluate.validation import validate_scores, validation_users
from jaxrec.keys import stream
from jaxrec.tasks.augmentation import AugmentedPieces
from jaxrec.tasks.pieces import cut
from jaxrec.tasks.ragged import ragged_take
from jaxrec.training.loop import fit
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.plan import Plan
from jaxrec.training.state import Loss, functional, rebuilder
from jaxrec.types import Array, Batch, Histories, Split


class Sequences:
    """Histories as examples: the source is a piece of a history, the target the same piece shifted by `ahead`.

    A history is cut from its end into pieces of at most `length` items, so that every event (except the first `ahead`
    of a user) is a target once; a piece has no access to the pieces before it.

    Args:
      histories: training events.
      length: maximum number of items of a piece.
      ahead: 1 if the target is the next item, 0 if it is the piece itself.
      users: whether each source starts with the user's token, I + 1 + user; the piece's first item is then a target.
      augment: with `ahead` 1 and without `users`, varies the pieces from epoch to epoch.
      seed: of the augmentation.
    Raises:
      ValueError: nobody has more than `ahead` events, a probability of `augment` is out of range, or these pieces can't
        be varied.
    """

    def __init__(
        self,
        histories: Histories,
        length: int,
        *,
        ahead: int = 1,
        users: bool = False,
        augment: AugmentConfig = NO_AUGMENTATION,
        seed: int = 0,
    ) -> None:
        pieces = cut(histories, length, ahead=ahead)
        user, self._starts, self._sizes = pieces
        self._augmented = None
        check_limits(augment, "augment")
        if augment != NO_AUGMENTATION:
            if ahead != 1 or users:
                raise ValueError("augment varies histories whose next item is predicted, without users; leave it out")
            self._augmented = AugmentedPieces(pieces, augment, seed)
        self._tokens = (histories.items + 1).astype(np.int32)
        self._ahead = ahead
        self._users = (histories.n_items + 1 + user).astype(np.int32) if users else None

    def __len__(self) -> int:
        return len(self._sizes)

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target lengths, which are equal, i64[n] each."""
        if self._augmented is not None:
            sizes = np.diff(self._augmented.events(epoch)[1]) - 1
            return sizes, sizes
        sizes = self._sizes + (self._users is not None)
        return sizes, sizes

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Tokens (item + 1) of some examples, see `jaxrec.data.packing.Examples`."""
        if self._augmented is not None:
            events, offsets = self._augmented.events(epoch)
            tokens, starts, sizes = self._tokens[events], offsets[indices], np.diff(offsets)[indices] - 1
            return *ragged_take(tokens, starts, sizes), *ragged_take(tokens, starts + 1, sizes)
        starts, sizes = self._starts[indices], self._sizes[indices]
        source, offsets = ragged_take(self._tokens, starts, sizes)
        if self._users is None:
            return source, offsets, *ragged_take(self._tokens, starts + self._ahead, sizes)
        source = np.insert(source, offsets[:-1], self._users[indices])
        return source, offsets + np.arange(len(offsets)), *ragged_take(self._tokens, starts, sizes + 1)


def train_next_item(
    name: str,
    model: NextItem,
    split: Split,
    *,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
    loss: Loss = next_item_loss,
    ahead: int = 1,
    users: bool = False,
) -> Scorer:
    """Trains a next-item model on the training histories; keeps the weights with the best NDCG@10 in validation.

    Args:
      name: its name in progress lines.
      model: a model with initial weights; its config holds the training settings.
      split: training histories and validation items.
      seed: of order, dropout and validation users.
      folder: for checkpoints and metrics, from which a killed run resumes; None keeps nothing.
      loss: loss(model, batch, key) -> (scalar, metrics).
      ahead: shift of the target, see `Sequences`.
      users: whether sequences start with the user's token.
    Returns:
      score(histories, users) with the best weights.
    Raises:
      ValueError: `row_length` is below `length`, nobody has two training events, or nobody has a validation item.
    """
    config: SequenceConfig = model.config
    examples = Sequences(split.train, config.length, ahead=ahead, users=users, augment=config.augment, seed=seed)
    batches = batches_of(examples, config, seed)
    steps = max(1, round(config.epochs * batches.steps_per_epoch))
    params, buffers, loss_fn = functional(model, loss)
    rebuild = rebuilder(model)
    sample = np.sort(validation_users(split, config.validate_users, seed))
    fitted = fit(
        loss_fn,
        params,
        buffers,
        optimizer_of(config, steps),
        batches,
        Plan(
            steps,
            name=name,
            validate_every=max(1, round(config.validate_every * batches.steps_per_epoch)),
            patience=config.patience,
            average=config.average,
        ),
        key=stream(jax.random.key(seed), "baseline"),
        folder=folder,
        count=count,
        validate=lambda params, buffers: validate_scores(next_item_scorer(rebuild(params, buffers)), split, sample),
    )
    return next_item_scorer(rebuild(fitted.best_params, fitted.buffers))


def batches_of(examples: Sequences, config: SequenceConfig, seed: int) -> Packed:
    """Packed batches of sequences.

    Raises:
      ValueError: a row can't hold a sequence.
    """
    if config.row_length < config.length:
        raise ValueError(f"row_length={config.row_length} can't hold a sequence of length={config.length}; raise it")
    return packed(
        examples, rows=config.rows, source_length=config.row_length, target_length=config.row_length, seed=seed
    )


def optimizer_of(config: SequenceConfig, steps: int) -> optax.GradientTransformation:
    """The optimizer of a training of so many steps."""
    settings = TrainConfig(
        learning_rate=config.learning_rate,
        schedule=config.schedule,
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        clip=config.clip,
    )
    return make_optimizer(settings, steps)


def next_item_scorer(model: NextItem) -> Scorer:
    """Scores items by the inner products of the model's vector at the end of each history with `items`."""
    n_items = model.items.shape[0]

    def score(histories: Histories, users: np.ndarray) -> Array:
        if histories.n_items != n_items:
            raise ValueError(
                f"histories are over {histories.n_items} items, but the model was trained on {n_items}; "
                "take both from one split"
            )
        longest = int(np.diff(histories.offsets)[users].max(initial=1))
        width = min(padded_width(longest), model.config.length)
        return _scores(model, seen_rows(histories, users, width) + 1, users)

    return score


@jax.jit
def _scores(model: NextItem, tokens: Array, users: Array) -> jax.Array:
    return model.answers(tokens, users) @ model.items.T


def count(batch: Batch) -> dict[str, int]:
    """Numbers of sequences and of their items in a batch."""
    segments = batch.source_segments
    return {"examples": int(segments.max(axis=1).sum()), "tokens": int(np.count_nonzero(segments))}


def next_item_baseline(
    title: str,
    model: Callable[..., NextItem],
    settings: SequenceConfig,
    *,
    loss: Loss = next_item_loss,
    ahead: int = 1,
    users: bool = False,
    attributes: bool = False,
) -> Baseline:
    """The record of a next-item model; its initial weights depend on the seed alone.

    Args:
      title: its name in tables.
      model: model(settings, n_items, rngs=rngs); where `users`, model(settings, n_items, n_users, rngs=rngs), and where
        `attributes`, those of the items follow.
      settings: the default settings.
      loss: loss(model, batch, key) -> (scalar, metrics).
      ahead: shift of the target, see `Sequences`.
      users: whether sequences start with the user's token.
      attributes: whether it learns from attributes of items.
    """

    def train(settings: SequenceConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
        about: tuple[object, ...] = (split.train.n_items, *([split.train.n_users] if users else []))
        if attributes:
            about = (*about, attributes_for(title, split))
        fresh = model(settings, *about, rngs=nnx.Rngs(params=stream(jax.random.key(seed), "weights")))
        return train_next_item(title, fresh, split, seed=seed, folder=folder, loss=loss, ahead=ahead, users=users)

    return Baseline(title, settings, train, new_users=not users, attributes=attributes)
