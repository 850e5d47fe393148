"""Losses that pull an asked-for vector to the target item's; TokenRec, eq. 20, and softmax over cosines."""

from __future__ import annotations

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

    With `mask_known` a softmax leaves out what the user had in training, as ranking leaves out what a user had: such
    items are no negatives.

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
    items, known = model.items[...], model.known.get_value()
    draw = stream(jax.random.key(0) if key is None else key, "negatives")
    cosine = jnp.sum(z * items[labels[:, 0]], axis=-1)
    config = model.config
    if config.loss == "margin":
        negative = draw_negatives(known, labels[:, 1], model.n_items, key=draw)
        losses = margin_losses(cosine, jnp.sum(z * items[negative], axis=-1), config.margin)
    else:
        candidates = jnp.arange(items.shape[0])
        if config.loss == "sampled":
            candidates = jax.random.randint(draw, (config.negatives,), 0, model.n_items)
        counts = jnp.any(items != 0, axis=1)[candidates][None] & (candidates[None] != labels[:, :1])
        if config.mask_known:
            counts &= ~contained(candidates, histories_of(known, labels[:, 1], model.most_known), items.shape[0])
        losses = softmax_losses(cosine, z @ items[candidates].T, counts, config.temperature)
    if config.align:
        users = model.users[...][labels[:, 1]]
        losses += config.align * (jnp.any(users != 0, axis=1) - jnp.sum(z * users, axis=-1))
    total = jnp.maximum(jnp.sum(weights), 1e-6)
    loss = jnp.sum(weights * losses) / total
    return loss, {"loss": loss, "cosine": jnp.sum(weights * cosine) / total}


def margin_losses(positive: Array, negative: Array, margin: float) -> jax.Array:
    """1 - s(z, q+) plus max(0, s(z, q-) - margin), cosines f32[B] -> f32[B]; TokenRec, eq. 20, one negative each."""
    return 1 - positive + jnp.maximum(0, negative - margin)


def softmax_losses(positive: Array, others: Array, counts: Array, temperature: float) -> jax.Array:
    """Cross-entropy of the target among itself and other items under softmax(cosine / temperature), f32[B].

    Args:
      positive: cosine with the target, f32[B].
      others: cosines with candidates, f32[B,N].
      counts: which candidates take part, bool[B,N]; the target itself must not.
      temperature: of the softmax, above 0.
    """
    logits = jnp.concatenate([positive[:, None], jnp.where(counts, others, -jnp.inf)], axis=1) / temperature
    return jax.nn.logsumexp(logits, axis=1) - logits[:, 0]


def histories_of(known: Events, users: Array, most: int) -> jax.Array:
    """The items of each user's events, i32[B,most], padded with -1; `most` is the largest number of events."""
    at = known.first[users][:, None] + jnp.arange(most)[None]
    rows = known.pairs[jnp.minimum(at, known.pairs.shape[0] - 1), 1]
    return jnp.where(jnp.arange(most)[None] < known.degree[users][:, None], rows, -1)


def contained(candidates: Array, rows: Array, n_items: int) -> jax.Array:
    """Which candidates i32[N] stand in each row i32[B,X] (-1 = padding), bool[B,N]."""
    where = jnp.where(rows >= 0, rows, n_items)
    table = jnp.zeros((rows.shape[0], n_items), bool)
    table = table.at[jnp.arange(rows.shape[0])[:, None], where].set(True, mode="drop")
    return table[:, candidates]
