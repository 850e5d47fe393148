"""Skip-gram with negative sampling over one corpus of walks: the banded form beside gensim with two workers."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse

from benchmarks.data import beauty_or_generated
from jaxrec.config import SkipGramConfig, WalkConfig
from jaxrec.data.graph import bipartite_graph
from jaxrec.data.walks import walk
from jaxrec.embedders.walks import CACHED_WALKS
from jaxrec.models import skipgram
from jaxrec.types import Histories

name = "skipgram"
reach, aim = 2.5, 3.5

CONFIG = SkipGramConfig(epochs=2, batch_walks=512, learning_rate=0.03)
NEIGHBOURS = 10


def cases(quick: bool) -> tuple[Callable[[], object], Callable[[], object], float, str, str]:
    """Both sides train fresh embeddings on the same walks for the same number of epochs.

    Quality is measured on the graph, which favours neither side: the share of an item's ten nearest items that some
    user has together with it. The note gives both shares, and the overlap of the two neighbour lists.
    """
    from gensim.models import Word2Vec

    split, source = beauty_or_generated(quick)
    graph = jax.tree.map(jnp.asarray, bipartite_graph(split.train))
    starts = np.flatnonzero(graph.degree).astype(np.int32)
    starts = np.resize(starts, -(-len(starts) // CONFIG.batch_walks) * CONFIG.batch_walks)  # whole batches
    walks = np.asarray(walk(graph, jnp.asarray(starts), WalkConfig().length, key=jax.random.key(0)))
    sentences = [[str(node) for node in row] for row in walks.tolist()]
    noise = jnp.asarray(skipgram.noise_table(np.bincount(walks.reshape(-1), minlength=graph.n_nodes)))
    steps = CONFIG.epochs * len(walks) // CONFIG.batch_walks
    optimizer = optax.adam(optax.linear_schedule(CONFIG.learning_rate, 0.0, steps))
    block = CACHED_WALKS if jax.default_backend() == "cpu" else 0
    loss = functools.partial(skipgram.banded_loss, window=CONFIG.window, negatives=CONFIG.negatives, block=block)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, moments, rows, noise, key):
        gradient, _ = jax.grad(loss, has_aux=True)(params, rows, noise, key)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    def ours() -> np.ndarray:
        key, random = jax.random.key(1), np.random.default_rng(1)
        params = skipgram.init(graph.n_nodes, CONFIG.dim, key=key)
        moments = optimizer.init(params)
        for epoch in range(CONFIG.epochs):
            batches = random.permutation(len(walks)).reshape(-1, CONFIG.batch_walks)
            for number, rows in enumerate(batches):
                step_key = jax.random.fold_in(key, epoch * len(batches) + number)
                params, moments = train_step(params, moments, walks[rows], noise, step_key)
        return np.asarray(params["node"])

    model = Word2Vec(
        vector_size=CONFIG.dim,
        window=CONFIG.window,
        negative=CONFIG.negatives,
        sg=1,
        sample=0,
        min_count=1,
        workers=2,
        seed=1,
    )
    model.build_vocab(sentences)  # not timed: our side gets node numbers as well

    def peer() -> np.ndarray:
        model.init_weights()
        model.min_alpha_yet_reached = model.alpha  # reset, or gensim warns that the learning rate rises
        model.train(sentences, total_examples=len(sentences), epochs=CONFIG.epochs)
        vectors = np.zeros((graph.n_nodes, CONFIG.dim), np.float32)
        vectors[np.array(model.wv.index_to_key, np.int64)] = model.wv.vectors
        return vectors

    together = _bought_together(split.train)
    items = np.flatnonzero(np.diff(together.indptr) >= NEIGHBOURS)
    mine, theirs = (_nearest(run()[split.train.n_users :], items) for run in (ours, peer))
    shares = [float((together[np.repeat(items, NEIGHBOURS), near.reshape(-1)] > 0).mean()) for near in (mine, theirs)]
    common = np.mean([len(np.intersect1d(a, b)) for a, b in zip(mine, theirs, strict=True)]) / NEIGHBOURS
    note = (
        f"{source}, {len(walks):,} walks of {walks.shape[1]}, {CONFIG.epochs} epochs; neighbours bought together: "
        f"ours {shares[0]:.3f}, gensim {shares[1]:.3f}; in common {common:.3f}"
    )
    return ours, peer, float(walks.size * CONFIG.epochs), "words", note


def _bought_together(train: Histories) -> scipy.sparse.csr_matrix:
    """Number of users who have both items of a pair, [I, I] with an empty diagonal."""
    shape = (train.n_users, train.n_items)
    bought = scipy.sparse.csr_matrix((np.ones(train.n_events), (train.users, train.items)), shape=shape)
    co_counts = scipy.sparse.csr_matrix(bought.T @ bought)
    co_counts.setdiag(0)
    co_counts.eliminate_zeros()
    return co_counts


def _nearest(vectors: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The nearest other items of some items by cosine, i64[n, NEIGHBOURS]."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    neighbours = []
    for part in np.array_split(items, 1 + len(items) // 2000):
        scores = units[part] @ units.T
        scores[np.arange(len(part)), part] = -np.inf
        neighbours.append(np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(neighbours)
