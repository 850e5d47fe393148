"""Training and scoring of models of the next item: packed histories, one loop, validation by full ranking."""

from __future__ import annotations

import os

import jax
import numpy as np
from flax import nnx

from jaxrec.config import TrainConfig
from jaxrec.data.pipeline import packed
from jaxrec.evaluate.baselines import Scorer
from jaxrec.evaluate.evaluate import evaluate_scores, seen_rows
from jaxrec.evaluate.ranking import metrics
from jaxrec.keys import generator, stream
from jaxrec.models.sequences import NextItemModel, SequenceConfig, answers, next_item_loss
from jaxrec.tasks.examples import ragged_take
from jaxrec.train.loop import fit
from jaxrec.train.optimizer import make_optimizer
from jaxrec.train.state import Loss, functional, rebuilder
from jaxrec.types import Array, Batch, Histories, Split


class ItemSequences:
    """Histories as examples: the source is a piece of one, the target what follows each of its items.

    A history longer than `length` + 1 is cut from its end into pieces, so that every event but a user's first is a
    target once; the oldest pieces know nothing of what came before them.

    Args:
      histories: training events.
      length: most items of a piece.
    Raises:
      ValueError: nobody has two events.
    """

    def __init__(self, histories: Histories, length: int) -> None:
        targets = np.maximum(np.diff(histories.offsets) - 1, 0)
        pieces = -(-targets // length)
        if not pieces.any():
            raise ValueError("no history holds two events, so nothing follows anything; is the training part empty?")
        user = np.repeat(np.arange(histories.n_users), pieces)
        number = np.arange(len(user)) - (np.cumsum(pieces) - pieces)[user]  # 0 is a user's newest piece
        ends = histories.offsets[1:][user] - 1 - number * length  # just behind the last source item
        self._starts = np.maximum(ends - length, histories.offsets[:-1][user])
        self._sizes = ends - self._starts
        self._tokens = histories.items + 1

    def __len__(self) -> int:
        return len(self._sizes)

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target have a token for each item of a piece, twice i64[n]."""
        return self._sizes, self._sizes

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Tokens (item + 1) as `jaxrec.data.pipeline.Examples` wants them."""
        source = ragged_take(self._tokens, self._starts[indices], self._sizes[indices])
        return (*source, *ragged_take(self._tokens, self._starts[indices] + 1, self._sizes[indices]))


def train(
    name: str,
    model: NextItemModel,
    split: Split,
    *,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
    loss: Loss = next_item_loss,
) -> Scorer:
    """Trains a model of the next item on the training histories, the best NDCG@10 on the validation items selecting.

    Args:
      name: what the progress line calls it.
      model: freshly made; its config says how it is trained.
      split: training histories, and the validation items that select.
      seed: of order, dropout and the users that validate.
      folder: where checkpoints and metrics go; a killed run goes on from there. None keeps nothing.
      loss: loss(model, batch, key) -> (scalar, metrics).
    Returns:
      score(histories, users), by the best weights.
    Raises:
      ValueError: `row_length` is below `length`, nobody has two training events, or nobody has an item that selects.
    """
    config: SequenceConfig = model.config
    if config.row_length < config.length:
        raise ValueError(f"row_length={config.row_length} can't hold a sequence of length={config.length}; raise it")
    data = packed(
        ItemSequences(split.train, config.length),
        rows=config.rows,
        source_length=config.row_length,
        target_length=config.row_length,
        seed=seed,
    )
    steps = max(1, round(config.epochs * data.steps_per_epoch))
    params, buffers, loss_fn = functional(model, loss)  # pyright: ignore[reportArgumentType]
    rebuild = rebuilder(model)  # pyright: ignore[reportArgumentType]
    asked = _validated(split, config.validate_users, seed)

    def validate(params, buffers) -> dict[str, float]:
        ranks = evaluate_scores("validation", scorer(rebuild(params, buffers)), split, "valid", users=asked).ranks
        return {name: value for name, value in metrics(ranks, (10,)).items() if not name.startswith("mrr")}

    optimizer = TrainConfig(
        learning_rate=config.learning_rate,
        schedule=config.schedule,
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        clip=config.clip,
    )
    fitted = fit(
        loss_fn,
        params,
        buffers,
        make_optimizer(optimizer, steps),
        data,
        steps=steps,
        key=stream(jax.random.key(seed), "baseline"),
        folder=folder,
        count=_count,
        validate=validate,
        validate_every=max(1, round(config.validate_every * data.steps_per_epoch)),
        patience=config.patience,
        name=name,
    )
    return scorer(rebuild(fitted.best_params, fitted.buffers))


def scorer(model: NextItemModel) -> Scorer:
    """Products of a model's answer at the end of each history with its table of items."""
    n_items = model.items.shape[0]

    def score(histories: Histories, users: np.ndarray) -> Array:
        if histories.n_items != n_items:
            raise ValueError(
                f"histories are over {histories.n_items} items, but the model was trained on {n_items}; "
                "take both from one split"
            )
        # Batches hold users of like lengths, so a few widths save most of the padding.
        longest = int(np.diff(histories.offsets)[users].max(initial=1))
        width = min(1 << (max(longest, 8) - 1).bit_length(), model.config.length)
        return _scores(model, seen_rows(histories, users, width) + 1)

    return score


@jax.jit
def _scores(model: NextItemModel, tokens: Array) -> jax.Array:
    return answers(model, tokens) @ model.items.T


def new(model: type, config: SequenceConfig, n_items: int, seed: int, *more: int):
    """A model with fresh weights, a pure function of the seed."""
    return model(config, n_items, *more, rngs=nnx.Rngs(params=stream(jax.random.key(seed), "weights")))


def _validated(split: Split, most: int, seed: int) -> np.ndarray:
    """The users that validate, i64[n]."""
    users = np.flatnonzero(split.valid >= 0)
    if not len(users):
        raise ValueError("nobody has a validation item, so nothing can select; is the split too small?")
    return np.sort(generator(seed, "validation").permutation(users)[:most]) if most else users


def _count(batch: Batch) -> dict[str, int]:
    """Sequences and their items in a batch."""
    segments = batch.source_segments
    return {"examples": int(segments.max(axis=1).sum()), "tokens": int(np.count_nonzero(segments))}
