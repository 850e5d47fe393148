"""CL4SRec (Xie et al. 2022): SASRec whose vectors of two changed views of a sequence are drawn together."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import (
    embedding_table,
    pairwise_loss,
    positions_in_segment,
    segment_starts,
    softmax_loss,
)
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.baselines.sasrec import SasRec, SasRecConfig
from jaxrec.config.limits import Fraction, Limits, NonNegativeFloat, Temperature
from jaxrec.keys import stream
from jaxrec.models.full_softmax import weighted_sum
from jaxrec.models.unit import unit
from jaxrec.types import Array, Batch

CROP, MASK, REORDER = range(3)
"""The operators that change a sequence."""


@dataclasses.dataclass(frozen=True)
class Cl4SRecConfig(SasRecConfig):
    """As in the paper, but for the loss of the next item, which is SASRec's here."""

    loss: Literal["softmax", "bpr"] = "softmax"
    """Of the next item: `softmax` is cross-entropy over all items; `bpr` is the paper's, over the item and one drawn at
    random."""
    contrast: NonNegativeFloat = 0.1
    """Weight of the contrastive loss, lambda."""
    similarity: Literal["inner", "cosine"] = "cosine"
    """What the contrastive loss compares vectors by."""
    temperature: Temperature = 0.1
    """What the contrastive loss divides similarities by."""
    crop: Annotated[float, Limits(above=0, at_most=1)] = 0.6
    """Share of a sequence that cropping keeps, eta."""
    mask: Fraction = 0.3
    """Share of a sequence that masking hides, gamma."""
    reorder: Fraction = 0.6
    """Share of a sequence that reordering shuffles, beta."""


class Cl4SRec(SasRec):
    """SASRec, with a token that hides an item.

    Args:
      config: shape and training.
      n_items: I; the token of a hidden item is I + 1.
    Raises:
      ValueError: the heads don't divide the width.
    """

    config: Cl4SRecConfig

    def __init__(self, config: Cl4SRecConfig, n_items: int, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, n_items, rngs=rngs)
        self.mask_embedding = embedding_table(1, config.dim, rngs=rngs)

    @property
    def mask_token(self) -> int:
        """The token of a hidden item."""
        return self.items.shape[0] + 1

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As SASRec; tokens may be hidden."""
        tokens = jnp.asarray(tokens)
        of_item = self.items[jnp.clip(tokens - 1, 0, self.items.shape[0] - 1)]
        hidden = (tokens == self.mask_token)[..., None]
        return self.encoded(jnp.where(hidden, self.mask_embedding[...][None], of_item), segments, key=key)


class View(NamedTuple):
    """Packed sequences, each changed by one operator.

    Attributes:
      tokens: i32[B, S], 0 where a sequence was cropped.
      segments: likewise; a sequence keeps its number.
      last: at every position, that of the last token of its sequence's view, i32[B, S].
    """

    tokens: jax.Array
    segments: jax.Array
    last: jax.Array


class Draws(NamedTuple):
    """The random numbers of a view, each f32[B, S] in [0, 1); of a sequence counts what is drawn at its first token.

    Attributes:
      operator: of a sequence.
      part: where in a sequence the cropped or reordered part is.
      order: of the tokens of a sequence.
    """

    operator: jax.Array
    part: jax.Array
    order: jax.Array


def draw_view(shape: tuple[int, ...], key: jax.Array) -> Draws:
    """The random numbers of a view of rows of this shape, (B, S)."""
    return Draws(*jax.random.uniform(key, (3, *shape)))


def make_view(tokens: Array, segments: Array, config: Cl4SRecConfig, mask_token: int, draws: Draws) -> View:
    """Changes every sequence by one operator, drawn uniformly, as in CL4SRec.

    Of a sequence of n tokens, cropping keeps a part of floor(eta n) in a row (at least one), masking hides
    floor(gamma n) anywhere, and reordering shuffles a part of floor(beta n) in a row. No token leaves its sequence.

    Args:
      tokens: i32[B, S], 0 = padding.
      segments: i32[B, S], 0 = padding.
      config: eta, gamma and beta.
      mask_token: what hides a token.
      draws: from `draw_view`.
    """
    tokens, segments = jnp.asarray(tokens), jnp.asarray(segments)
    index = jnp.arange(tokens.shape[1])[None]
    first = index - positions_in_segment(segments)
    ends = jnp.pad(segment_starts(segments)[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    last = jax.lax.cummin(jnp.where(ends, index, tokens.shape[1]), axis=1, reverse=True)
    size = last - first + 1
    operator, part = (jnp.take_along_axis(x, first, axis=1) for x in (draws.operator, draws.part))
    operator = (3 * operator).astype(jnp.int32)
    shares = jnp.asarray([config.crop, config.mask, config.reorder])[operator]
    count = jnp.maximum((shares * size).astype(jnp.int32), (operator == CROP).astype(jnp.int32))
    begin = first + jnp.minimum((part * (size - count + 1)).astype(jnp.int32), size - count)
    inside = (begin <= index) & (index < begin + count)
    # Sorting by these keys shuffles what is to be shuffled and leaves the rest in place.
    keys = jnp.where((operator == REORDER) & inside, begin + draws.order * count, index)
    keys = jnp.where(operator == MASK, first + draws.order * size, keys)
    order = jnp.argsort(keys, axis=1)
    hidden = (operator == MASK) & (jnp.argsort(order, axis=1) - first < count)
    changed = jnp.where(operator == REORDER, jnp.take_along_axis(tokens, order, axis=1), tokens)
    changed = jnp.where(hidden, mask_token, changed)
    kept = (segments > 0) & ((operator != CROP) | inside)
    last = jnp.where(operator == CROP, begin + count - 1, last)
    return View(jnp.where(kept, changed, 0), jnp.where(kept, segments, 0), last)


def contrast_loss(one: jax.Array, other: jax.Array, present: jax.Array, temperature: float) -> jax.Array:
    """NT-Xent (Chen et al. 2020), CL4SRec's contrastive loss: a view's other view among all other views of the batch.

    The mean over both views of all N sequences of -log(exp(s_ab / t) / sum_c exp(s_ac / t)), where b is the other view
    of a's sequence, c are all 2 N - 1 views but a, and s are inner products.

    Args:
      one: vectors of the first views, f32[N, D].
      other: vectors of the second ones, f32[N, D].
      present: which of the sequences count, bool[N]; best the first ones, as blocks without any are not computed.
      temperature: t.
    Returns:
      f32[], 0 where nothing is present.
    """
    vectors, counts = jnp.concatenate([one, other]), jnp.concatenate([present, present])
    number = jnp.arange(len(counts))
    weights = counts / jnp.maximum(counts.sum(), 1)

    def losses(vector: jax.Array, own: jax.Array) -> jax.Array:
        logits = vector @ vectors.T / temperature
        partner = (own + len(counts) // 2) % len(counts)
        others = counts[None] & (number[None] != own[:, None])
        positive = jnp.take_along_axis(logits, partner[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(jnp.where(others, logits, -jnp.inf), axis=1) - positive

    return weighted_sum(losses, weights, vectors, number)


def cl4srec_loss(model: Cl4SRec, batch: Batch, key: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of the next item, and the contrastive loss of two views of each sequence, weighted.

    Sequences of one item, in which nothing can be changed, are not contrasted.

    Args:
      model: the model.
      batch: source holds the sequences, target the next item at the same positions.
      key: of views, drawn items and dropout; None draws by a fixed key and uses no dropout.
    Returns:
      The loss, f32[], and its two summands "next_item" and "contrastive" f32[], the latter before its weight.
    """
    config, draw = model.config, jax.random.key(0) if key is None else key
    tokens, segments = jnp.asarray(batch.source), jnp.asarray(batch.source_segments)
    one, other = (
        make_view(tokens, segments, config, model.mask_token, draw_view(segments.shape, stream(draw, name)))
        for name in ("first view", "second view")
    )
    hidden = model(
        jnp.concatenate([tokens, one.tokens, other.tokens]),
        jnp.concatenate([segments, one.segments, other.segments]),
        key=key,
    )
    of_batch, *of_views = jnp.split(hidden, 3)
    if config.loss == "softmax":
        next_item = softmax_loss(model, of_batch, batch)
    else:
        next_item = pairwise_loss(model, of_batch, batch, stream(draw, "negatives"))

    second = (segments > 0) & (positions_in_segment(segments) == 1)
    (places,) = jnp.nonzero(second.reshape(-1), size=max(1, second.size // 2), fill_value=0)
    present = jnp.arange(len(places)) < second.sum()
    row = places // segments.shape[1]
    first, then = (
        vectors[row, view.last.reshape(-1)[places]] for vectors, view in zip(of_views, (one, other), strict=True)
    )
    if config.similarity == "cosine":
        first, then = unit(first), unit(then)
    contrastive = contrast_loss(first, then, present, config.temperature)
    return next_item + config.contrast * contrastive, {"next_item": next_item, "contrastive": contrastive}


BASELINE = next_item_baseline("CL4SRec", Cl4SRec, Cl4SRecConfig(), loss=cl4srec_loss)
