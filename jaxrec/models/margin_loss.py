"""TokenRec's loss: raises the target's cosine and lowers a negative's down to a margin; eq. 20."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrec.models.lightgcn import draw_negatives
from jaxrec.models.matching import Matches, matching_loss
from jaxrec.types import Array


def margin_losses(positive: Array, negative: Array, margin: float) -> jax.Array:
    """1 - s(z, q+) plus max(0, s(z, q-) - margin), cosines f32[B] -> f32[B]; TokenRec, eq. 20, one negative each."""
    return 1 - positive + jnp.maximum(0, negative - margin)


def _of_examples(matches: Matches) -> jax.Array:
    model = matches.model
    negatives = draw_negatives(model.known.get_value(), matches.users, model.n_items, key=matches.key)
    cosine = jnp.sum(matches.z * model.items[...][negatives], axis=-1)
    return margin_losses(matches.cosine, cosine, model.config.margin)


MARGIN = matching_loss(_of_examples)
