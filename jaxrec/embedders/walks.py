"""META ID's embedder: meta-path walks drawn inside the training step, skip-gram over them."""

from __future__ import annotations

import functools
import math
import os
import pathlib

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import Config, SkipGramConfig, WalkConfig
from jaxrec.data.graph import Graph, bipartite_graph
from jaxrec.data.walks import walk
from jaxrec.embedders.embedder import Embedder, Embedding
from jaxrec.keys import generator, stream
from jaxrec.models import skipgram
from jaxrec.train import loop
from jaxrec.train.plan import Plan
from jaxrec.types import Histories, Vectors

CACHED_WALKS = 64
"""Walks whose vectors are worked on at a time on CPU: their buffers stay in the second-level cache."""


class Starts:
    """Element i: the nodes that batch i walks from. Round after round visits all nodes, each in a fresh order.

    A pure function of (seed, i), so that a run resumes anywhere.
    """

    def __init__(self, nodes: np.ndarray, *, batch: int, batches: int, seed: int) -> None:
        self._nodes = nodes
        self._batch = batch
        self._batches = batches
        self._order = functools.lru_cache(maxsize=2)(
            lambda number: generator(seed, f"walks, round {number}").permutation(nodes)
        )

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, index: int) -> np.ndarray:
        """Nodes, i32[batch]."""
        number, place = divmod(index * self._batch, len(self._nodes))
        rows = [self._order(number)[place:]]
        while sum(map(len, rows)) < self._batch:
            number += 1
            rows.append(self._order(number))
        return np.concatenate(rows)[: self._batch]


def embed(
    histories: Histories,
    walks: WalkConfig,
    config: SkipGramConfig,
    *,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Vectors:
    """One vector for every user and item; META ID, section 5.1 and appendix A.1.

    An epoch is `walks.rounds` walks from every node that has an edge. The paper walks once and trains on
    that corpus again and again; here every epoch walks afresh, which costs little and shows the model more.
    Training stops after `config.patience` epochs without a lower mean loss, and the best epoch's vectors count.

    Args:
      histories: training events.
      walks: rounds, length, and whether a walk keeps to one rating.
      config: the skip-gram's shape and training.
      seed: of walks, starting values and negatives.
      folder: where checkpoints and metrics go; a killed run goes on from there. None keeps nothing.
    Returns:
      Vectors; rows of zeros for users and items without an event.
    Raises:
      ValueError: there is no event at all.
    """
    graph = bipartite_graph(histories, equal_ratings=walks.equal_ratings)
    nodes = np.flatnonzero(graph.degree).astype(np.int32)
    if not len(nodes):
        raise ValueError("histories hold no event to walk on; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "skip-gram")
    batch = config.batch_walks
    steps_per_epoch = math.ceil(walks.rounds * len(nodes) / batch)
    steps = config.epochs * steps_per_epoch
    starts = Starts(nodes, batch=batch, batches=steps, seed=seed)
    fitted = loop.fit(
        _loss(walks.length, config),
        skipgram.init(graph.n_nodes, config.dim, key=stream(key, "tables")),
        {
            "graph": jax.tree.map(jnp.asarray, graph),
            "noise": jnp.asarray(noise(graph, walks.length, key=stream(key, "noise"))),
        },
        optax.adam(optax.linear_schedule(config.learning_rate, 0.0, steps)),
        grain.MapDataset.source(starts).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)),
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
    return Vectors(vectors[: histories.n_users], vectors[histories.n_users :])


def noise(graph: Graph, length: int, *, key: jax.Array) -> np.ndarray:
    """The negatives' distribution: how often one walk from every node meets each node, to the power 0.75, u32[n].

    A node that this one round missed counts once, as it can be met.
    """
    nodes = np.flatnonzero(graph.degree).astype(np.int32)
    met = np.asarray(walk(jax.tree.map(jnp.asarray, graph), jnp.asarray(nodes), length, key=key))
    counts = np.bincount(met[met >= 0], minlength=graph.n_nodes)
    return skipgram.noise_table(np.maximum(counts, graph.degree > 0))


def _loss(length: int, config: SkipGramConfig):
    """loss_fn(params, buffers, starts i32[B], key) for `fit`: walks from the starts, then the loss over them."""
    loss = skipgram.pairs_loss
    if config.form == "banded":
        on_cpu = jax.default_backend() == "cpu"
        block = math.gcd(config.batch_walks, CACHED_WALKS) if on_cpu else 0
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


def fit(
    histories: Histories, config: Config, *, valid: np.ndarray | None = None, folder: pathlib.Path | None = None
) -> Embedding:
    """`embed` by a run's config, as `Embedder.fit`; its own loss selects, so `valid` is not read."""
    del valid
    folder = None if folder is None else folder / "skipgram"
    return Embedding(embed(histories, config.walks, config.skipgram, seed=config.seed, folder=folder))


EMBEDDER = Embedder(
    title="meta-path walks and skip-gram", fit=fit, settings=lambda config: (config.walks, config.skipgram)
)
