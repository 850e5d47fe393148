"""TokenRec's embedder: LightGCN, or matrix factorisation, trained by BPR; and its refresh over a newer graph."""

from __future__ import annotations

import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import LightGcnConfig
from jaxrec.embedders.embedder import Embedder, Embedding, fold_in
from jaxrec.embedders.inner_product import inner_product_scorer
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.evaluate.validation import validate_scores, validation_split
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore
from jaxrec.training import loop
from jaxrec.training.plan import Plan
from jaxrec.types import Array, Histories, Vectors


def fit_lightgcn(
    histories: Histories,
    config: LightGcnConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Embedding:
    """LightGCN (He et al. 2020), the embedder of TokenRec, section 2.3; with no layers, BPR-MF (Rendle et al. 2009).

    A step is a batch of distinct events, each with one negative; an epoch takes every event once. A repeated event
    counts once, because the adjacency is binary.

    Args:
      histories: training events.
      config: shape and training.
      valid: validation items, i32[U], -1 = none: training stops when their NDCG@10 (full ranking, training items left
        out, inner product) no longer improves, and the best tables are kept. None trains for `config.epochs`.
      seed: of initial values, order and negatives.
      folder: for checkpoints and metrics, from which a killed run resumes; None keeps nothing.
    Returns:
      Vectors, and as tables layer 0; rows of zeros for users and items without an event.
    Raises:
      ValueError: there is no event, or nobody has a validation item.
    """
    graph, pairs = _graph(histories)
    if not len(pairs):
        raise ValueError("histories hold no event to learn from; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "lightgcn")
    n_nodes = histories.n_users + histories.n_items
    node = lightgcn.init(n_nodes, config.dim, key=stream(key, "tables"))
    steps = math.ceil(config.epochs * len(pairs) / config.batch)
    batches = ShuffledBatches(np.arange(len(pairs), dtype=np.int32), batch=config.batch, batches=steps, seed=seed)
    events = lightgcn.events(pairs, histories.n_users)

    def loss_fn(params, buffers, batch, key):
        return lightgcn.loss(
            params["node"],
            buffers["graph"],
            buffers["events"],
            batch,
            layers=config.layers,
            regularization=config.regularization,
            key=key,
        )

    fitted = loop.fit(
        loss_fn,
        {"node": arrange(graph, jnp.where(graph.scale[graph.place, None] > 0, node, 0.0))},
        {"graph": graph, "events": jax.tree.map(jnp.asarray, events)},
        optax.adam(config.learning_rate),
        batches.dataset(),
        Plan(
            steps,
            name="LightGCN" if config.layers else "BPR-MF",
            validate_every=0 if valid is None else math.ceil(config.validate_every * len(pairs) / config.batch),
            patience=config.patience,
        ),
        key=stream(key, "steps"),
        folder=folder,
        count=lambda batch: {"examples": len(batch)},
        validate=None if valid is None else _validate(histories, valid, config.layers),
    )
    tables = _vectors(graph, fitted.best_params["node"], histories.n_users)
    return Embedding(propagate(tables, histories, config.layers), tables)


def propagate(tables: Vectors, histories: Histories, layers: int) -> Vectors:
    """Layer-0 tables propagated over a graph, which may be newer than the one they were trained on.

    Users and items without a row in the tables start from zeros, so that their vectors come from their neighbours
    alone. Without layers they stay zeros. Nothing is trained.

    Args:
      tables: layer 0; at most as many users and items as `histories`, in which additional ones come last.
      histories: events of the graph.
      layers: K.
    Returns:
      Vectors of all users and items of `histories`; rows of zeros for those without an event in it.
    Raises:
      ValueError: the tables have more users or items than the histories.
    """
    sizes = {"users": (len(tables.user), histories.n_users), "items": (len(tables.item), histories.n_items)}
    for entities, (in_tables, in_histories) in sizes.items():
        if in_tables > in_histories:
            raise ValueError(
                f"tables hold {in_tables} {entities} and histories only {in_histories}; new ones go to the end of both"
            )
    graph, _ = _graph(histories)
    n_nodes, width = histories.n_users + histories.n_items, tables.user.shape[1]
    node = np.zeros((n_nodes, width), np.float32)
    node[: len(tables.user)] = tables.user
    node[histories.n_users : histories.n_users + len(tables.item)] = tables.item
    return _vectors(graph, _propagated(arrange(graph, node), graph, layers), histories.n_users)


def refresh(embedding: Embedding, histories: Histories, config: LightGcnConfig) -> Vectors:
    """Vectors from the trained tables over the new graph; TokenRec, section 2.5.2. Without layers, a fold-in."""
    if embedding.tables is None or not config.layers:
        return fold_in(embedding, histories)
    return propagate(embedding.tables, histories, config.layers)


_propagated = jax.jit(lightgcn.propagate, static_argnums=2)


def _graph(histories: Histories) -> tuple[Adjacency, np.ndarray]:
    """The graph of the events, on the device, and its edges i32[E, 2]."""
    pairs = edges(histories.users, histories.items, histories.n_items)
    graph = adjacency(pairs, histories.n_users, histories.n_items)
    return jax.tree.map(jnp.asarray, graph), pairs


def _vectors(graph: Adjacency, node: Array, n_users: int) -> Vectors:
    """Rows of the graph's nodes, f32[R, F], as users' and items' vectors, zeros for those without a neighbour."""
    has_neighbour = np.asarray(graph.scale)[np.asarray(graph.place)] > 0
    rows = np.where(has_neighbour[:, None], np.asarray(restore(graph, node)), 0.0).astype(np.float32)
    return Vectors(rows[:n_users], rows[n_users:])


def _validate(histories: Histories, valid: np.ndarray, layers: int):
    """validate(params, buffers) -> NDCG@10 and HR@10 of the validation items, for the training loop."""
    split = validation_split(histories, valid)

    def validate(params, buffers) -> dict[str, float]:
        graph = buffers["graph"]
        vectors = _vectors(graph, _propagated(params["node"], graph, layers), histories.n_users)
        return validate_scores(inner_product_scorer(vectors), split)

    return validate


EMBEDDER = Embedder(
    title="LightGCN", settings=lambda config: config.lightgcn, fit=fit_lightgcn, refresh=refresh, ranks=True
)
