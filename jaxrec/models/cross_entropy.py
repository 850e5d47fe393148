"""Token-level cross-entropy of answers over packed batches."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxrec.models.language_model import LanguageModel
from jaxrec.models.loss import Loss
from jaxrec.types import Batch


def sequence_loss(
    model: LanguageModel, batch: Batch, key: jax.Array | None = None, *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of the target tokens given the source and the target's earlier tokens; META ID, eq. 8.

    Args:
      model: a language model.
      batch: rows of one or more examples each.
      key: for dropout, or None.
      label_smoothing: share of the label's probability that is spread evenly over the vocabulary, in [0, 1).
    Returns:
      The mean over labels by their weights, f32[] (0 where all weights are 0), and metrics f32[]: "loss", the same
      without smoothing, and "accuracy", the weighted share of labels that score highest. Of a model with an item head,
      the weighted sum with the head's loss, which is the metric "item_loss".
    """
    inputs = shift_right(batch.target, batch.target_segments, model.start)
    hidden = model(batch.source, batch.source_segments, inputs, batch.target_segments, key=key)
    logits = model.logits(hidden)
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    # A comparison and a sum, not a gather: its gradient fuses with the softmax's, and the vocabulary may be sharded.
    is_label = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2) == batch.target[..., None]
    of_label = jnp.sum(jnp.where(is_label, logits, 0), axis=-1)
    total = jnp.maximum(jnp.sum(batch.weights), 1e-6)
    loss = jnp.sum(batch.weights * (log_sum - of_label)) / total
    hit = (of_label >= jnp.max(logits, axis=-1)).astype(jnp.float32)
    metrics = {"loss": loss, "accuracy": jnp.sum(batch.weights * hit) / total}
    if label_smoothing:
        spread = jnp.sum(batch.weights * (log_sum - jnp.mean(logits, axis=-1))) / total
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    if model.items is not None:
        settings, of_items = model.items.config, model.items.loss(hidden, inputs, batch, key)
        loss, metrics["item_loss"] = settings.id_weight * loss + settings.weight * of_items, of_items
    return loss, metrics


def shift_right(target: jax.Array, segments: jax.Array, start: int = 0) -> jax.Array:
    """The decoder's inputs: each target after its predecessor, `start` first in each segment, i32[B,T]."""
    before = jnp.pad(target[:, :-1], ((0, 0), (1, 0)))
    segment_before = jnp.pad(segments[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(segments == segment_before, before, start)


CROSS_ENTROPY = Loss("id", lambda train: functools.partial(sequence_loss, label_smoothing=train.label_smoothing))
