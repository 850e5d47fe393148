"""S3-Rec (Zhou et al. 2020): SASRec, pretrained in both directions by four losses of items, attributes, histories."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.baseline import Baseline, attributes_for
from jaxrec.baselines.next_item_model import embedding_table, linear, positions_in_segment, segment_starts
from jaxrec.baselines.next_item_training import Sequences, batches_of, count, optimizer_of, train_next_item
from jaxrec.baselines.sasrec import SasRec, SasRecConfig
from jaxrec.config.limits import Limits, NonNegativeFloat
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.keys import stream
from jaxrec.models.dropout import Dropout
from jaxrec.models.full_softmax import cross_entropy, weighted_sum
from jaxrec.models.fused_attention import MASKED
from jaxrec.models.oov import Buffer
from jaxrec.models.products import dense
from jaxrec.training.loop import fit
from jaxrec.training.plan import Plan
from jaxrec.training.state import functional, rebuilder
from jaxrec.types import Array, Attributes, Batch, Split

TITLE = "S3-Rec"
MOST_SEGMENTS = 1024
"""Sequences of a batch whose segments are told apart; more would cost the square of their number."""


@dataclasses.dataclass(frozen=True)
class S3RecConfig(SasRecConfig):
    """SASRec's settings, which go for pretraining, too, and those of pretraining; weights as in the released code."""

    pretrain_epochs: NonNegativeFloat = 20
    """Epochs of pretraining; 0: none, which leaves a SASRec."""
    mask: Annotated[float, Limits(above=0, at_most=1)] = 0.2
    """Share of the items that are masked in pretraining, beside the last of each sequence."""
    attribute_weight: NonNegativeFloat = 0.2
    """Of the loss of an item's attributes from its embedding (AAP)."""
    item_weight: NonNegativeFloat = 1.0
    """Of the loss of a masked item (MIP)."""
    masked_attribute_weight: NonNegativeFloat = 1.0
    """Of the loss of a masked item's attributes (MAP)."""
    segment_weight: NonNegativeFloat = 0.5
    """Of the loss that finds the segment that was cut out of a history (SP)."""


class S3Rec(SasRec):
    """SASRec with embeddings of attribute values and of a mask, and a linear map for each loss of pretraining.

    Args:
      config: shape and training.
      n_items: I.
      attributes: of the items.
    """

    config: S3RecConfig

    def __init__(self, config: S3RecConfig, n_items: int, attributes: Attributes, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, n_items, rngs=rngs)
        self.mask_embedding = embedding_table(1, config.dim, rngs=rngs)
        self.value_embedding = embedding_table(attributes.n_values, config.dim, rngs=rngs)
        maps = (linear(config.dim, config.dim, config.compute_dtype, rngs=rngs) for _ in range(4))
        self.to_own_values, self.to_item, self.to_values, self.to_segment = maps
        self.values = Buffer(jnp.asarray(attributes.rows(max(len(attributes.values), 1))))

    def masked(self, tokens: Array, segments: Array, masked: Array, *, key: jax.Array | None = None) -> jax.Array:
        """Vectors of positions that attend to all of their sequence; the embedding of the mask stands where `masked`.

        Args:
          tokens: item + 1, i32[B, S]; 0 = padding.
          segments: i32[B, S], as for `NextItem`.
          masked: bool[B, S].
          key: of dropout, or None.
        Returns:
          f32[B, S, D].
        """
        items = self.items[jnp.maximum(tokens - 1, 0)]
        return self.encoded(
            jnp.where(masked[..., None], self.mask_embedding[...][0], items), segments, causal=False, key=key
        )


def pretraining_loss(
    model: S3Rec, batch: Batch, key: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the four losses of section 4.2.

    Each is the paper's contrastive loss with all there is as negatives, and without a sigmoid inside the softmax.

    Args:
      model: the model.
      batch: source holds the sequences.
      key: of masks, segments and dropout; None draws by a fixed key and uses no dropout.
    Returns:
      The sum, f32[], and the losses "aap", "mip", "map" and "sp", each a mean.
    """
    tokens, segments = jnp.asarray(batch.source), jnp.asarray(batch.source_segments)
    config, drawn = model.config, jax.random.key(0) if key is None else key
    is_masked, in_part = draw_masks(segments, config.mask, drawn), draw_parts(segments, drawn)
    keys = [None if key is None else stream(key, name) for name in ("masked", "context", "part")]
    hidden = model.masked(tokens, segments, is_masked, key=keys[0])
    context = model.masked(tokens, segments, in_part, key=keys[1])
    part = model.masked(tokens, segments, ~in_part, key=keys[2])
    is_open = (segments > 0) & ~is_masked
    losses = {
        "aap": own_attribute_loss(model, tokens, is_open),
        "mip": masked_item_loss(model, hidden, tokens, is_masked),
        "map": masked_attribute_loss(model, hidden, tokens, is_masked),
        "sp": segment_loss(model, context, part, last_positions(segments) & _has_part(segments)),
    }
    weights = (config.attribute_weight, config.item_weight, config.masked_attribute_weight, config.segment_weight)
    return sum((w * loss for w, loss in zip(weights, losses.values(), strict=True)), jnp.zeros(())), losses


def own_attribute_loss(model: S3Rec, tokens: Array, where: Array) -> jax.Array:
    """Associated attribute prediction: the values of an item from its embedding, where bool[B, S] is True."""
    items = model.items[jnp.maximum(tokens - 1, 0)] * model.config.dim**0.5
    return _values_loss(model, model.to_own_values(items, Dropout(0, None)), tokens, where)


def masked_attribute_loss(model: S3Rec, hidden: jax.Array, tokens: Array, where: Array) -> jax.Array:
    """Masked attribute prediction: the values of a masked item from its context f32[B, S, D]."""
    return _values_loss(model, model.to_values(hidden, Dropout(0, None)), tokens, where)


def masked_item_loss(model: S3Rec, hidden: jax.Array, tokens: Array, where: Array) -> jax.Array:
    """Masked item prediction, with all other items as negatives: cross-entropy of the masked item."""
    vectors = model.to_item(hidden, Dropout(0, None))
    flat, labels, weights = _sorted(where, vectors, jnp.asarray(tokens) - 1)
    return cross_entropy(flat, model.items, labels, weights, model.config.compute_dtype)


def segment_loss(model: S3Rec, context: jax.Array, part: jax.Array, where: Array) -> jax.Array:
    """Segment prediction: of all segments in the batch, the one that was cut out of a history.

    Args:
      model: the model.
      context: vectors of histories without their segment, f32[B, S, D].
      part: vectors of the segments alone, f32[B, S, D].
      where: bool[B, S], at which position the vectors of a history are read; at most one a sequence.
    Returns:
      The mean cross-entropy over the first `MOST_SEGMENTS` histories, f32[].
    """
    contexts, parts, weights = (x[:MOST_SEGMENTS] for x in _sorted(where, context, part))
    scores = dense(model.to_segment(contexts, Dropout(0, None)), parts.T, model.config.compute_dtype)
    scores = jnp.where(weights[None] > 0, scores, MASKED)
    losses = jax.nn.logsumexp(scores, axis=1) - jnp.diagonal(scores)
    return (losses * weights).sum() / jnp.maximum(weights.sum(), 1)


def _values_loss(model: S3Rec, vectors: jax.Array, tokens: Array, where: Array) -> jax.Array:
    """For each of an item's values the cross-entropy of it among it and those that the item lacks; the mean over the
    values of an item, then over the items that have some.
    """
    values = model.values[...][jnp.maximum(tokens - 1, 0)]
    flat, values, weights = _sorted(where & (values > 0).any(axis=-1), vectors, values)
    table = model.value_embedding[...].T

    def losses(vectors: jax.Array, values: jax.Array) -> jax.Array:
        scores = dense(vectors, table, model.config.compute_dtype)
        rows = jnp.arange(len(values))[:, None]
        is_own = jnp.zeros((len(values), scores.shape[1] + 1), bool).at[rows, values].set(True)[:, 1:]
        others = jax.nn.logsumexp(jnp.where(is_own, MASKED, scores), axis=1, keepdims=True)
        own = jnp.take_along_axis(scores, jnp.maximum(values - 1, 0), axis=1)
        each = jnp.where(values > 0, jnp.logaddexp(own, others) - own, 0)
        return each.sum(axis=1) / jnp.maximum((values > 0).sum(axis=1), 1)

    return weighted_sum(losses, weights / jnp.maximum(weights.sum(), 1), flat, values)


def _sorted(where: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Arrays [B, S, ...] as [B * S, ...] with the positions of a mask first, and their weights, f32[B * S]; blocks of
    weight 0 cost nothing.
    """
    order = jnp.argsort(~where.reshape(-1), stable=True)
    flat = (x.reshape(-1, *x.shape[2:])[order] for x in arrays)
    return *flat, where.reshape(-1)[order].astype(jnp.float32)


def draw_masks(segments: Array, mask: float, key: jax.Array) -> jax.Array:
    """The positions that are masked, bool[B, S]: each with probability `mask`, and the last of each sequence."""
    drawn = jax.random.uniform(stream(key, "masks"), segments.shape) < mask
    return (segments > 0) & (drawn | last_positions(segments))


def draw_parts(segments: Array, key: jax.Array) -> jax.Array:
    """A run of each sequence, bool[B, S], of 1 up to half of its items, anywhere; none in a sequence of one item."""
    place, size = positions_in_segment(segments), _sizes(segments)
    first = jnp.arange(segments.shape[1])[None] - place
    draws = jax.random.uniform(stream(key, "parts"), (2, *segments.shape))
    length_draw, start_draw = (jnp.take_along_axis(draw, first, axis=1) for draw in draws)  # one a sequence
    longest = size // 2
    length = 1 + jnp.minimum(jnp.floor(length_draw * longest).astype(jnp.int32), longest - 1)
    start = jnp.minimum(jnp.floor(start_draw * (size - length + 1)).astype(jnp.int32), size - length)
    return _has_part(segments) & (place >= start) & (place < start + length)


def last_positions(segments: Array) -> jax.Array:
    """The last position of each sequence, bool[B, S]."""
    ends = jnp.pad(segment_starts(segments)[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    return (segments > 0) & ends


def _sizes(segments: Array) -> jax.Array:
    """The number of items of the sequence at each position, i32[B, S]."""
    from_end = positions_in_segment(jnp.asarray(segments)[:, ::-1])[:, ::-1]
    return positions_in_segment(segments) + from_end + 1


def _has_part(segments: Array) -> jax.Array:
    return (segments > 0) & (_sizes(segments) > 1)


def train_s3rec(settings: S3RecConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    """Pretrains on the training histories, and trains to predict the next item; each resumes in a folder of its own.

    Raises:
      ValueError: the split has no attributes, or no training events.
    """
    attributes = attributes_for(TITLE, split)
    rngs = nnx.Rngs(params=stream(jax.random.key(seed), "weights"))
    model = S3Rec(settings, split.train.n_items, attributes, rngs=rngs)
    if settings.pretrain_epochs:
        model = _pretrained(model, split, seed, folder / "pretraining")
    return train_next_item(TITLE, model, split, seed=seed, folder=folder / "fine-tuning")


def _pretrained(model: S3Rec, split: Split, seed: int, folder: pathlib.Path) -> S3Rec:
    config = model.config
    batches = batches_of(Sequences(split.train, config.length, ahead=0), config, seed)
    steps = max(1, round(config.pretrain_epochs * batches.steps_per_epoch))
    params, buffers, loss = functional(model, pretraining_loss)
    fitted = fit(
        loss,
        params,
        buffers,
        optimizer_of(config, steps),
        batches,
        Plan(steps, name=f"{TITLE} pretraining", average=config.average),
        key=stream(jax.random.key(seed), "pretraining"),
        folder=folder,
        count=count,
    )
    return rebuilder(model)(fitted.best_params, fitted.buffers)


BASELINE = Baseline(TITLE, S3RecConfig(), train_s3rec, new_users=True, attributes=True)
