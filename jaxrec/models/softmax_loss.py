"""TokenRec with a softmax over cosines of the target and other items: all items, or a sample drawn for the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrec.models.catalogue_softmax import catalogue_losses, contained, histories_of, softmax_losses
from jaxrec.models.matching import Matches, matching_loss


def _excluded(matches: Matches) -> jax.Array:
    """Items that are no negatives, i32[B,X], -1 = padding: the target and, with `mask_known`, the training items."""
    model, target = matches.model, matches.items[:, None]
    if not model.config.mask_known:
        return target
    return jnp.concatenate([target, histories_of(model.known.get_value(), matches.users, model.most_known)], axis=1)


def _full(matches: Matches) -> jax.Array:
    items, temperature = matches.model.items[...], matches.model.config.temperature
    present = jnp.any(items != 0, axis=1)
    return catalogue_losses(matches.z, matches.cosine, items, present, _excluded(matches), temperature)


def _sampled(matches: Matches) -> jax.Array:
    model = matches.model
    items = model.items[...]
    candidates = jax.random.randint(matches.key, (model.config.negatives,), 0, model.n_items)
    counts = jnp.any(items != 0, axis=1)[candidates][None] & ~contained(candidates, _excluded(matches), len(items))
    return softmax_losses(matches.cosine, matches.z @ items[candidates].T, counts, model.config.temperature)


FULL, SAMPLED = matching_loss(_full), matching_loss(_sampled)
