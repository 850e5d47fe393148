"""Softmax over cosines of the target and other items: all items, or a sample drawn for the whole batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrec.models.lightgcn import Events
from jaxrec.models.matching import Matches, matching_loss
from jaxrec.types import Array


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


def histories_of(train_events: Events, users: Array, most: int) -> jax.Array:
    """The items of each user's events, i32[B,most], padded with -1; `most` is the largest number of events."""
    positions = train_events.first[users][:, None] + jnp.arange(most)[None]
    rows = train_events.pairs[jnp.minimum(positions, train_events.pairs.shape[0] - 1), 1]
    return jnp.where(jnp.arange(most)[None] < train_events.degree[users][:, None], rows, -1)


def contained(candidates: Array, rows: Array, n_items: int) -> jax.Array:
    """Which candidates i32[N] stand in each row i32[B,X] (-1 = padding), bool[B,N]."""
    columns = jnp.where(rows >= 0, rows, n_items)
    is_in_row = jnp.zeros((rows.shape[0], n_items), bool)
    is_in_row = is_in_row.at[jnp.arange(rows.shape[0])[:, None], columns].set(True, mode="drop")
    return is_in_row[:, candidates]


def _against(matches: Matches, candidates: jax.Array) -> jax.Array:
    """Each example's loss against candidates i32[N], f32[B].

    With `mask_known`, the user's training items are excluded, as in the ranking.
    """
    model, config = matches.model, matches.model.config
    items = model.items[...]
    counts = jnp.any(items != 0, axis=1)[candidates][None] & (candidates[None] != matches.items[:, None])
    if config.mask_known:
        histories = histories_of(model.known.get_value(), matches.users, model.most_known)
        counts &= ~contained(candidates, histories, items.shape[0])
    return softmax_losses(matches.cosine, matches.z @ items[candidates].T, counts, config.temperature)


def _full(matches: Matches) -> jax.Array:
    return _against(matches, jnp.arange(matches.model.items.shape[0]))


def _sampled(matches: Matches) -> jax.Array:
    model = matches.model
    return _against(matches, jax.random.randint(matches.key, (model.config.negatives,), 0, model.n_items))


FULL, SAMPLED = matching_loss(_full), matching_loss(_sampled)
