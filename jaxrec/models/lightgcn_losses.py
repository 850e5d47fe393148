"""LightGCN's losses by name: BPR, and the cross-entropy of a softmax over a sample, the batch's or all items."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.config import LightGcnConfig
from jaxrec.models import lightgcn
from jaxrec.models.catalogue_softmax import catalogue_losses, contained, histories_of, softmax_losses
from jaxrec.models.lightgcn import Events, for_scores
from jaxrec.models.sparse import Adjacency
from jaxrec.types import Array


@dataclasses.dataclass(frozen=True)
class LightGcnLoss:
    """A loss of LightGCN, GTN and matrix factorisation.

    Attributes:
      similarity: what it compares items by where `LightGcnConfig.similarity` is "auto".
      compute: compute(nodes f32[R,F] of layer 0, final f32[R,F] after propagation, graph, train_events, batch i32[B] of
        events, *, config, temperature, most, key) -> (loss f32[], metrics); temperature as `for_scores` takes it,
        `most` the largest number of events of a user.
    """

    similarity: Literal["inner", "cosine"]
    compute: Callable[..., tuple[jax.Array, dict[str, jax.Array]]]


def bpr(
    nodes: jax.Array,
    final: jax.Array,
    graph: Adjacency,
    train_events: Events,
    batch: Array,
    *,
    config: LightGcnConfig,
    temperature: float | None,
    most: int,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`jaxrec.models.lightgcn.loss` with the settings of a config."""
    del most
    return lightgcn.loss(
        nodes,
        final,
        graph,
        train_events,
        batch,
        regularization=config.regularization,
        temperature=temperature,
        key=key,
    )


def softmax(
    nodes: jax.Array,
    final: jax.Array,
    graph: Adjacency,
    train_events: Events,
    batch: Array,
    *,
    candidates: Literal["sampled", "in_batch", "full"],
    config: LightGcnConfig,
    temperature: float | None,
    most: int,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of each event's item under a softmax over it and the candidates.

    The mean over events of -log(exp s(u, i) / (exp s(u, i) + sum_j exp s(u, j))) + l (|u_0|^2 + |i_0|^2) / 2, where j
    are the candidates that have an event, but none with u; u_0 and i_0 are vectors of layer 0. Items of the batch count
    as often as they stand in it, without a correction for popularity (SSM, Wu et al. 2022).

    Args:
      nodes: layer 0, f32[R,F], in the rows of `graph`.
      final: their propagated vectors, f32[R,F].
      graph: of users and items.
      train_events: training events.
      batch: numbers of events, i32[B].
      candidates: "sampled", drawn uniformly for the whole batch; "in_batch", the items of the batch; "full", all.
      config: regularisation and number of sampled items.
      temperature: of cosines; None scores by inner product.
      most: the largest number of events of a user.
      key: random key of the sample.
    Returns:
      Loss, f32[]; metrics "cross_entropy" and "squares" f32[], its two summands (before l).
    """
    n_users = train_events.degree.shape[0]
    n_items = graph.place.shape[0] - n_users
    users, positives = train_events.pairs[batch, 0], train_events.pairs[batch, 1]

    def of_items(items: Array | slice) -> tuple[jax.Array, jax.Array]:
        """Vectors of items for scores, and whether they have an event."""
        rows = graph.place[n_users:][items]
        return for_scores(final[rows], temperature), graph.scale[rows] > 0

    user = for_scores(final[graph.place[users]], temperature)
    positive, _ = of_items(positives)
    score = (user * positive).sum(-1)
    histories = histories_of(train_events, users, most)
    if candidates == "full":
        vectors, present = of_items(slice(None))
        losses = catalogue_losses(user, score, vectors, present, histories, 1.0)
    else:
        others = positives
        if candidates == "sampled":
            others = jax.random.randint(key, (config.negatives,), 0, n_items)
        vectors, present = of_items(others)
        counts = present[None] & ~contained(others, histories, n_items)
        losses = softmax_losses(score, user @ vectors.T, counts, 1.0)
    rows = graph.place[jnp.concatenate([users, n_users + positives])]
    squares = 0.5 * jnp.square(nodes[rows]).sum() / batch.shape[0]
    cross_entropy = losses.mean()
    return cross_entropy + config.regularization * squares, {"cross_entropy": cross_entropy, "squares": squares}


def _softmax_over(candidates: Literal["sampled", "in_batch", "full"]) -> LightGcnLoss:
    def compute(*arguments: Any, **settings: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        return softmax(*arguments, candidates=candidates, **settings)

    return LightGcnLoss("cosine", compute)


LIGHTGCN_LOSSES: dict[str, LightGcnLoss] = {
    "bpr": LightGcnLoss("inner", bpr),
    "sampled": _softmax_over("sampled"),
    "in_batch": _softmax_over("in_batch"),
    "full": _softmax_over("full"),
}


def lightgcn_loss(name: str, path: str = "lightgcn") -> LightGcnLoss:
    """The loss of a name; `path` is what messages call the settings that name it.

    Raises:
      ValueError: the name is unknown; the message lists all.
    """
    if name not in LIGHTGCN_LOSSES:
        raise ValueError(f"{path}.losses names {name!r}, which is not one of {', '.join(LIGHTGCN_LOSSES)}")
    return LIGHTGCN_LOSSES[name]


def ranks_by_cosine(name: str, config: LightGcnConfig) -> bool:
    """Whether a loss compares items by cosine, and its vectors rank by it."""
    return (lightgcn_loss(name).similarity if config.similarity == "auto" else config.similarity) == "cosine"
