"""Losses that pull an asked-for vector to the target item's; TokenRec, eq. 20, and softmax over cosines."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp

from jaxrec.keys import stream
from jaxrec.models.lightgcn import Events, draw_negatives
from jaxrec.models.retriever import LABELS, Retriever, unit
from jaxrec.types import Array, Batch


def retrieval_loss(
    model: Retriever, batch: Batch, key: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """How far the vectors that a batch's prompts ask for are from the target items'.

    Args:
      model: its config says which loss.
      batch: packed prompts; the target holds (item, user) of each example.
      key: of dropout and of negatives, or None: no dropout, and negatives from a fixed key.
    Returns:
      The mean over examples, f32[] (0 where there are none), and metrics f32[]: "loss" and "cosine", the mean cosine
      with the target.
    """
    rows, slots = batch.target.shape[0], batch.target.shape[1] // LABELS
    labels = batch.target.reshape(rows * slots, LABELS)
    weights = batch.weights.reshape(rows * slots, LABELS)[:, 0]
    z = unit(model(batch.source, batch.source_segments, slots, key=key)).reshape(rows * slots, -1)
    items = model.items[...]
    draw = stream(jax.random.key(0) if key is None else key, "negatives")
    cosine = jnp.sum(z * items[labels[:, 0]], axis=-1)
    config = model.config
    if config.loss == "margin":
        negative = draw_negatives(cast(Events, model.known.get_value()), labels[:, 1], model.n_items, key=draw)
        losses = margin_losses(cosine, jnp.sum(z * items[negative], axis=-1), config.margin)
    elif config.loss == "sampled":
        drawn = jax.random.randint(draw, (config.negatives,), 0, model.n_items)
        losses = sampled_losses(cosine, z, items, labels[:, 0], drawn, config.temperature)
    else:
        losses = full_losses(cosine, z, items, config.temperature)
    total = jnp.maximum(jnp.sum(weights), 1e-6)
    loss = jnp.sum(weights * losses) / total
    return loss, {"loss": loss, "cosine": jnp.sum(weights * cosine) / total}


def margin_losses(positive: Array, negative: Array, margin: float) -> jax.Array:
    """1 - s(z, q+) plus max(0, s(z, q-) - margin), cosines f32[B] -> f32[B]; TokenRec, eq. 20, one negative each."""
    return 1 - positive + jnp.maximum(0, negative - margin)


def full_losses(positive: Array, z: Array, items: Array, temperature: float) -> jax.Array:
    """Cross-entropy of the target among all items under softmax(cosine / temperature), f32[B].

    Args:
      positive: cosine with the target, f32[B].
      z: what was asked for at length 1, f32[B,F].
      items: at length 1, f32[I,F]; rows of zeros are no item and take no part.
      temperature: of the softmax, above 0.
    """
    known = jnp.any(items != 0, axis=1)
    logits = jnp.where(known[None], z @ items.T, -jnp.inf) / temperature
    return jax.nn.logsumexp(logits, axis=1) - positive / temperature


def sampled_losses(
    positive: Array, z: Array, items: Array, target: Array, drawn: Array, temperature: float
) -> jax.Array:
    """`full_losses` against drawn items i32[N] alone; where a target i32[B] itself was drawn it doesn't count again."""
    counts = (drawn[None] != target[:, None]) & jnp.any(items[drawn] != 0, axis=1)[None]
    logits = jnp.where(counts, z @ items[drawn].T, -jnp.inf) / temperature
    positive = positive / temperature
    return jax.nn.logsumexp(jnp.concatenate([positive[:, None], logits], axis=1), axis=1) - positive
