"""META ID's embedder: skip-gram over meta-path walks, which are drawn inside the training step."""

from __future__ import annotations

import functools
import math
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import SkipGramConfig, WalkConfig
from jaxrec.data.graph import Graph, bipartite_graph
from jaxrec.data.walks import walk
from jaxrec.embedders.embedder import Embedder, Embedding
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.keys import stream
from jaxrec.models import skipgram
from jaxrec.platform import on_cpu
from jaxrec.training import loop
from jaxrec.training.plan import Plan
from jaxrec.types import Histories, Vectors

CACHED_WALKS = 64
"""Walks per block on CPU, so that a block's buffers stay in the second-level cache."""


class WalkSettings(NamedTuple):
    """The parts of a config that vectors from walks depend on."""

    walks: WalkConfig
    skipgram: SkipGramConfig


def fit_walks(
    histories: Histories,
    settings: WalkSettings,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Embedding:
    """One vector for every user and item; META ID, section 5.1 and appendix A.1.

    An epoch is `walks.rounds` walks from every node that has an edge. The paper walks once and trains on that corpus
    repeatedly; here every epoch draws new walks, which costs little and gives more variety. Training stops after
    `skipgram.patience` epochs without a lower mean loss, and the vectors are those of the best epoch.

    Args:
      histories: training events.
      settings: rounds and length of walks, whether a walk keeps to one rating; the skip-gram's shape and training.
      valid: not used; the epoch is selected by the training loss.
      seed: of walks, initial values and negatives.
      folder: for checkpoints and metrics, from which a killed run resumes; None keeps nothing.
    Returns:
      Vectors without tables; rows of zeros for users and items without an event.
    Raises:
      ValueError: there is no event.
    """
    del valid
    walks, config = settings
    graph = bipartite_graph(histories, equal_ratings=walks.equal_ratings)
    nodes = np.flatnonzero(graph.degree).astype(np.int32)
    if not len(nodes):
        raise ValueError("histories hold no event to walk on; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "skip-gram")
    batch = config.batch_walks
    steps_per_epoch = math.ceil(walks.rounds * len(nodes) / batch)
    steps = config.epochs * steps_per_epoch
    starts = ShuffledBatches(nodes, batch=batch, batches=steps, seed=seed)
    fitted = loop.fit(
        _loss(walks.length, config),
        skipgram.init(graph.n_nodes, config.dim, key=stream(key, "tables")),
        {
            "graph": jax.tree.map(jnp.asarray, graph),
            "noise": jnp.asarray(negatives_table(graph, walks.length, key=stream(key, "noise"))),
        },
        optax.adam(optax.linear_schedule(config.learning_rate, 0.0, steps)),
        starts.dataset(),
        Plan(
            steps,
            name="skip-gram",
            validate_every=steps_per_epoch,
            select="loss",
            mode="min",
            patience=config.patience,
        ),
        key=stream(key, "steps"),
        folder=folder,
        count=lambda rows: {"examples": len(rows), "tokens": len(rows) * walks.length},
    )
    vectors = np.where(graph.degree[:, None] > 0, np.asarray(fitted.best_params["node"]), 0.0).astype(np.float32)
    return Embedding(Vectors(vectors[: histories.n_users], vectors[histories.n_users :]))


def negatives_table(graph: Graph, length: int, *, key: jax.Array) -> np.ndarray:
    """Cumulative distribution of negatives, u32[n]; see `jaxrec.models.skipgram.noise_table`.

    Each node's weight is its number of visits in one walk from every node, to the power 0.75. A node with edges that
    no walk visited counts as visited once.
    """
    nodes = np.flatnonzero(graph.degree).astype(np.int32)
    visited = np.asarray(walk(jax.tree.map(jnp.asarray, graph), jnp.asarray(nodes), length, key=key))
    counts = np.bincount(visited[visited >= 0], minlength=graph.n_nodes)
    return skipgram.noise_table(np.maximum(counts, graph.degree > 0))


def _loss(length: int, config: SkipGramConfig):
    """loss_fn(params, buffers, starts i32[B], key): the skip-gram loss of a new walk from each start."""
    loss = skipgram.pairs_loss
    if config.form == "banded":
        block = math.gcd(config.batch_walks, CACHED_WALKS) if on_cpu() else 0
        loss = functools.partial(skipgram.banded_loss, block=block)

    def loss_fn(params, buffers, starts, key):
        paths = walk(buffers["graph"], starts, length, key=stream(key, "walks"))
        return loss(
            params,
            paths,
            buffers["noise"],
            stream(key, "negatives"),
            window=config.window,
            negatives=config.negatives,
        )

    return loss_fn


EMBEDDER = Embedder(
    title="meta-path walks and skip-gram",
    settings=lambda config: WalkSettings(config.walks, config.skipgram),
    fit=fit_walks,
)
