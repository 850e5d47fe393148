"""TokenRec's embedder: LightGCN, or matrix factorisation, trained by BPR; and its refresh over a newer graph."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import Config, LightGcnConfig
from jaxrec.embedders.embedder import Embedder, Embedding, fold_in
from jaxrec.embedders.walks import Starts
from jaxrec.evaluate.evaluate import Scorer, evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore
from jaxrec.train import loop
from jaxrec.train.plan import Plan
from jaxrec.types import Array, Histories, Split, Vectors


@dataclasses.dataclass(frozen=True)
class Collaborative:
    """What training gave: `tables` are layer 0, which a refresh propagates anew, `vectors` the propagated ones."""

    tables: Vectors
    vectors: Vectors


def train(
    histories: Histories,
    config: LightGcnConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Collaborative:
    """LightGCN (He et al. 2020), the embedder of TokenRec, section 2.3; with no layers, BPR-MF (Rendle et al. 2009).

    A step is a batch of distinct events, each with one negative; an epoch shows every event once. A repeated event is
    one event, as the adjacency is binary.

    Args:
      histories: training events.
      config: shape and training.
      valid: items that select, i32[U], -1 = none: training stops when their NDCG@10 (full ranking, training items left
        out, inner product) no longer improves, and the best validation's tables count. None trains `config.epochs`.
      seed: of starting values, order and negatives.
      folder: where checkpoints and metrics go; a killed run goes on from there. None keeps nothing.
    Returns:
      Tables and vectors; rows of zeros for users and items without an event.
    Raises:
      ValueError: there is no event at all, or nobody has an item that selects.
    """
    graph, pairs = _graph(histories)
    if not len(pairs):
        raise ValueError("histories hold no event to learn from; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "lightgcn")
    n_nodes = histories.n_users + histories.n_items
    node = lightgcn.init(n_nodes, config.dim, key=stream(key, "tables"))
    steps = math.ceil(config.epochs * len(pairs) / config.batch)
    batches = Starts(np.arange(len(pairs), dtype=np.int32), batch=config.batch, batches=steps, seed=seed)
    known = lightgcn.events(pairs, histories.n_users)

    def loss_fn(params, buffers, batch, key):
        return lightgcn.loss(
            params["node"],
            buffers["graph"],
            buffers["known"],
            batch,
            layers=config.layers,
            regularization=config.regularization,
            key=key,
        )

    fitted = loop.fit(
        loss_fn,
        {"node": arrange(graph, jnp.where(graph.scale[graph.place, None] > 0, node, 0.0))},
        {"graph": graph, "known": jax.tree.map(jnp.asarray, known)},
        optax.adam(config.learning_rate),
        grain.MapDataset.source(batches).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)),
        Plan(
            steps,
            name="LightGCN" if config.layers else "BPR-MF",
            validate_every=0 if valid is None else math.ceil(config.validate_every * len(pairs) / config.batch),
            patience=config.patience,
        ),
        key=stream(key, "steps"),
        folder=folder,
        count=lambda batch: {"examples": len(batch)},
        validate=None if valid is None else _validation(histories, valid, config.layers),
    )
    tables = _vectors(graph, fitted.best_params["node"], histories.n_users)
    return Collaborative(tables, propagate(tables, histories, config.layers))


def propagate(tables: Vectors, histories: Histories, layers: int) -> Vectors:
    """The refresh: layer-0 tables propagated over a graph, which may be newer than the one they were trained on.

    Users and items that the tables do not hold yet start from zeros, so that their vectors come from their neighbours
    alone; nothing is trained. Without layers there is nothing to come from, and they stay zeros.

    Args:
      tables: layer 0; at most as many users and items as `histories`, whose additional ones stand at the end.
      histories: events of the graph.
      layers: K.
    Returns:
      Vectors of all users and items of `histories`; rows of zeros for those without an event in it.
    Raises:
      ValueError: the tables hold more users or items than the histories.
    """
    sizes = {"users": (len(tables.user), histories.n_users), "items": (len(tables.item), histories.n_items)}
    for what, (held, wanted) in sizes.items():
        if held > wanted:
            raise ValueError(f"tables hold {held} {what} and histories only {wanted}; new ones go to the end of both")
    graph, _ = _graph(histories)
    n_nodes, width = histories.n_users + histories.n_items, tables.user.shape[1]
    node = np.zeros((n_nodes, width), np.float32)
    node[: len(tables.user)] = tables.user
    node[histories.n_users : histories.n_users + len(tables.item)] = tables.item
    return _vectors(graph, _propagated(arrange(graph, node), graph, layers), histories.n_users)


def scorer(vectors: Vectors) -> Scorer:
    """Inner products of users with all items, for `jaxrec.evaluate.evaluate.evaluate_scores`."""
    user, item = jnp.asarray(vectors.user), jnp.asarray(vectors.item)

    def score(histories: Histories, users: np.ndarray) -> Array:
        if (histories.n_users, histories.n_items) != (len(user), len(item)):
            raise ValueError(
                f"histories are of {histories.n_users} users and {histories.n_items} items, the vectors of {len(user)} "
                f"and {len(item)}; refresh the vectors with these histories"
            )
        return _scores(user, item, users)

    return score


@jax.jit
def _scores(user: Array, item: Array, users: Array) -> jax.Array:
    return user[users] @ item.T


_propagated = jax.jit(lightgcn.propagate, static_argnums=2)


def _graph(histories: Histories) -> tuple[Adjacency, np.ndarray]:
    """The graph of the events, on the device, and its edges i32[E, 2]."""
    pairs = edges(histories.users, histories.items, histories.n_items)
    graph = adjacency(pairs, histories.n_users, histories.n_items)
    return jax.tree.map(jnp.asarray, graph), pairs


def _vectors(graph: Adjacency, rows: Array, n_users: int) -> Vectors:
    """Rows f32[R, F] as users' and items' vectors, zeros for those without a neighbour."""
    held = np.asarray(graph.scale)[np.asarray(graph.place)] > 0
    found = np.where(held[:, None], np.asarray(restore(graph, rows)), 0.0).astype(np.float32)
    return Vectors(found[:n_users], found[n_users:])


def _validation(histories: Histories, valid: np.ndarray, layers: int):
    """validate(params, buffers) -> {"ndcg@10": ..., "hr@10": ...} over the items that select."""
    if not (valid >= 0).any():
        raise ValueError("valid holds no item that selects, all are -1; pass None to train without selection")
    nobody = np.zeros(histories.n_users, bool)
    nothing = Histories(np.zeros_like(histories.offsets), np.zeros(0, np.int32), histories.n_items)
    no_items = np.zeros(histories.n_items, bool)
    split = Split(histories, valid, np.full_like(valid, -1), nothing, "selection", histories, nobody, no_items)

    def validate(params, buffers) -> dict[str, float]:
        graph = buffers["graph"]
        vectors = _vectors(graph, _propagated(params["node"], graph, layers), histories.n_users)
        ranks = evaluate_scores("validation", scorer(vectors), split, "valid").ranks
        return {name: value for name, value in metrics(ranks, (10,)).items() if not name.startswith("mrr")}

    return validate


def fit(
    histories: Histories,
    config: Config,
    *,
    valid: np.ndarray,
    folder: pathlib.Path | None = None,
    name: str = "lightgcn",
) -> Embedding:
    """`train` by a run's config, as `Embedder.fit`; checkpoints go to the folder's subfolder `name`."""
    found = train(
        histories,
        config.lightgcn,
        valid=valid,
        seed=config.seed,
        folder=None if folder is None else folder / name,
    )
    return Embedding(found.vectors, found.tables)


def refresh(embedding: Embedding, histories: Histories, config: Config) -> Vectors:
    """Tables propagated over the new graph, in which a newcomer's row starts from zeros; TokenRec, section 2.5.2."""
    if embedding.tables is None or not config.lightgcn.layers:
        return fold_in(embedding, histories, config)
    return propagate(embedding.tables, histories, config.lightgcn.layers)


EMBEDDER = Embedder(title="LightGCN", fit=fit, settings=lambda config: config.lightgcn, refresh=refresh, ranks=True)
