"""Token-level cross-entropy of answers over packed batches."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxrec.models.answers import Answers
from jaxrec.models.full_softmax import weighted_sum
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.loss import Loss
from jaxrec.models.sibling_softmax import sibling_cross_entropy
from jaxrec.types import Array, Batch


def sequence_loss(
    model: LanguageModel, batch: Batch, key: jax.Array | None = None, *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of the target tokens given the source and the target's earlier tokens; META ID, eq. 8.

    Of a model with an item head, whose answers are items: the mean over the codes of their ids, plus the head's loss.

    Args:
      model: a language model.
      batch: rows of one or more examples each.
      key: for dropout, or None.
      label_smoothing: share of the label's probability that is spread evenly over the vocabulary, in [0, 1); not
        where items' rows take part in the odds of a code.
    Returns:
      The mean over labels by their weights, f32[] (0 where all weights are 0), and metrics f32[]: "loss", the same
      without smoothing, and "accuracy", the weighted share of labels that score highest. Of a model with an item head,
      the weighted sum with the head's loss, and the metrics "loss", of the codes, and "item_loss", of the head; a loss
      of weight 0 is not computed, and has no metric.
    """
    inputs = shift_right(batch.target, batch.target_segments, model.start)
    hidden = model(batch.source, batch.source_segments, inputs, batch.target_segments, key=key)
    if model.items is None:
        return _token_loss(model, hidden, batch.target, batch.weights, label_smoothing)
    settings, answers = model.items.config, model.items.answers(inputs, batch)
    loss, metrics = jnp.zeros(()), {}
    if settings.id_weight:
        of_codes, metrics["loss"] = _code_loss(model, hidden, answers, label_smoothing)
        loss += settings.id_weight * of_codes
    if settings.weight:
        metrics["item_loss"] = model.items.loss(hidden, answers, key)
        loss += settings.weight * metrics["item_loss"]
    return loss, metrics


def _token_loss(
    model: LanguageModel, hidden: jax.Array, target: Array, weights: Array, label_smoothing: float
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`sequence_loss` over the vocabulary, of hidden states f32[B,T,D], labels i32[B,T] and weights f32[B,T]."""
    logits = model.logits(hidden)
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    # A comparison and a sum, not a gather: its gradient fuses with the softmax's, and the vocabulary may be sharded.
    is_label = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2) == target[..., None]
    of_label = jnp.sum(jnp.where(is_label, logits, 0), axis=-1)
    total = jnp.maximum(jnp.sum(weights), 1e-6)
    loss = jnp.sum(weights * (log_sum - of_label)) / total
    hit = (of_label >= jnp.max(logits, axis=-1)).astype(jnp.float32)
    metrics = {"loss": loss, "accuracy": jnp.sum(weights * hit) / total}
    if label_smoothing:
        spread = jnp.sum(weights * (log_sum - jnp.mean(logits, axis=-1))) / total
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    return loss, metrics


def _code_loss(
    model: LanguageModel, hidden: jax.Array, answers: Answers, label_smoothing: float
) -> tuple[jax.Array, jax.Array]:
    """The mean of -log p(code) over the codes of the answers' ids, with and without smoothing, f32[] each."""
    head = model.items
    assert head is not None
    from_vocabulary = head.n_codes - 1 if model.says_rows else head.n_codes
    states = [answers.hidden(hidden, n) for n in range(head.n_codes)]

    def losses(codes: jax.Array, *states: jax.Array) -> jax.Array:
        smooth, exact = jnp.zeros(len(codes)), jnp.zeros(len(codes))
        for n, state in enumerate(states):
            logits = model.logits(state)
            log_sum = jax.nn.logsumexp(logits, axis=-1)
            of_code = log_sum - jnp.take_along_axis(logits, codes[:, n, None], axis=-1)[:, 0]
            exact += of_code
            if label_smoothing:
                of_code = (1 - label_smoothing) * of_code + label_smoothing * (log_sum - jnp.mean(logits, axis=-1))
            smooth += of_code
        return jnp.stack([smooth, exact], axis=1)

    sums = jnp.zeros(2)
    if from_vocabulary:
        sums += weighted_sum(losses, answers.weights, answers.codes, *states[:from_vocabulary])
    if model.says_rows:
        sums += sibling_cross_entropy(
            states[-1],
            model.item_outputs()[head.order[...]],
            head.siblings(answers.codes),
            answers.weights,
            head.most_siblings,
        )
    smooth, exact = sums / jnp.maximum(answers.weights.sum() * head.n_codes, 1e-6)
    return smooth, exact


def shift_right(target: jax.Array, segments: jax.Array, start: int = 0) -> jax.Array:
    """The decoder's inputs: each target after its predecessor, `start` first in each segment, i32[B,T]."""
    before = jnp.pad(target[:, :-1], ((0, 0), (1, 0)))
    segment_before = jnp.pad(segments[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(segments == segment_before, before, start)


CROSS_ENTROPY = Loss("id", lambda train: functools.partial(sequence_loss, label_smoothing=train.label_smoothing))
