"""TokenRec's embedder: LightGCN, or matrix factorisation, and its refresh over a newer graph."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import LightGcnConfig
from jaxrec.config.checks import check_lightgcn
from jaxrec.embedders.embedder import Embedder, Embedding, fold_in
from jaxrec.embedders.fold_in import unit_rows
from jaxrec.embedders.inner_product import inner_product_scorer
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.evaluate.validation import validate_scores, validation_split
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.lightgcn_losses import lightgcn_loss, ranks_by_cosine
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore
from jaxrec.progress import logger
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
    """LightGCN (He et al. 2020), the embedder of TokenRec, section 2.3; with no layers, matrix factorisation.

    A step is a batch of distinct events; an epoch takes every event once. A repeated event counts once, because the
    adjacency is binary. Inner products of the vectors rank items; trained on cosines, the vectors have length 1.

    Args:
      histories: training events.
      config: shape and training. Of several losses, the one whose vectors have the best validation NDCG@10 is kept.
      valid: validation items, i32[U], -1 = none: training stops when their NDCG@10 (full ranking, training items left
        out, inner product) no longer improves, and the best tables are kept. None, or `config.validate_every` 0: trains
        for `config.epochs`.
      seed: of initial values, order and negatives.
      folder: for checkpoints and metrics, from which a killed run resumes; None keeps nothing.
    Returns:
      Vectors, and as tables layer 0; rows of zeros for users and items without an event. The report names the loss and
      the validation NDCG@10 of each where there were several.
    Raises:
      ValueError: a setting is out of range, there is no event, or nobody has a validation item to choose by.
    """
    check_lightgcn(config)
    for name in config.losses:
        lightgcn_loss(name)
    if len(config.losses) == 1:
        return _fit(histories, config, config.losses[0], valid=valid, seed=seed, folder=folder)
    if valid is None:
        raise ValueError(
            f"lightgcn.losses={' '.join(config.losses)!r} are chosen among by validation, and there is no validation "
            "item; name one loss"
        )
    split = validation_split(histories, valid)
    embeddings, values = {}, {}
    for name in config.losses:
        inner = None if folder is None else pathlib.Path(folder) / name
        embeddings[name] = _fit(histories, config, name, valid=valid, seed=seed, folder=inner)
        values[name] = validate_scores(inner_product_scorer(embeddings[name].vectors), split)["ndcg@10"]
    best = max(config.losses, key=values.__getitem__)
    compared = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    logger.info("[%s] loss %s is kept; validation NDCG@10: %s", _title(config), best, compared)
    return dataclasses.replace(embeddings[best], report={"loss": best, "validation_ndcg@10": values})


def _title(config: LightGcnConfig) -> str:
    return "LightGCN" if config.layers else "MF"


def _fit(
    histories: Histories,
    config: LightGcnConfig,
    loss: str,
    *,
    valid: np.ndarray | None,
    seed: int,
    folder: str | os.PathLike[str] | None,
) -> Embedding:
    """`fit_lightgcn` with one loss."""
    cosine = ranks_by_cosine(loss, config)
    graph, pairs = _graph(histories)
    if not len(pairs):
        raise ValueError("histories hold no event to learn from; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "lightgcn")
    n_nodes = histories.n_users + histories.n_items
    node = lightgcn.init(n_nodes, config.dim, key=stream(key, "tables"))
    steps = math.ceil(config.epochs * len(pairs) / config.batch)
    batches = ShuffledBatches(np.arange(len(pairs), dtype=np.int32), batch=config.batch, batches=steps, seed=seed)
    events = lightgcn.events(pairs, histories.n_users)
    most = int(events.degree.max())

    def loss_fn(params, buffers, batch, key):
        return lightgcn_loss(loss).compute(
            params["node"],
            buffers["graph"],
            buffers["events"],
            batch,
            config=config,
            temperature=config.temperature if cosine else None,
            most=most,
            key=key,
        )

    if not config.validate_every:
        valid = None
    fitted = loop.fit(
        loss_fn,
        {"node": arrange(graph, jnp.where(graph.scale[graph.place, None] > 0, node, 0.0))},
        {"graph": graph, "events": jax.tree.map(jnp.asarray, events)},
        optax.adam(config.learning_rate),
        batches.dataset(),
        Plan(
            steps,
            name=_title(config) if loss == "bpr" else f"{_title(config)}, {loss}",
            validate_every=0 if valid is None else math.ceil(config.validate_every * len(pairs) / config.batch),
            patience=config.patience,
        ),
        key=stream(key, "steps"),
        folder=folder,
        count=lambda batch: {"examples": len(batch)},
        validate=None if valid is None else _validate(histories, valid, config.layers, cosine=cosine),
    )
    tables = _vectors(graph, fitted.best_params["node"], histories.n_users)
    return Embedding(_propagate_over(tables, histories, config.layers, cosine=cosine), tables, cosine=cosine)


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
    return _propagate_over(embedding.tables, histories, config.layers, cosine=embedding.cosine)


def _propagate_over(tables: Vectors, histories: Histories, layers: int, *, cosine: bool) -> Vectors:
    """`propagate`, and vectors of length 1 where cosines rank."""
    vectors = propagate(tables, histories, layers)
    return Vectors(unit_rows(vectors.user), unit_rows(vectors.item)) if cosine else vectors


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


def _validate(histories: Histories, valid: np.ndarray, layers: int, *, cosine: bool):
    """validate(params, buffers) -> NDCG@10 and HR@10 of the validation items, for the training loop."""
    split = validation_split(histories, valid)

    def validate(params, buffers) -> dict[str, float]:
        graph = buffers["graph"]
        vectors = _vectors(graph, _propagated(params["node"], graph, layers), histories.n_users)
        if cosine:
            vectors = Vectors(unit_rows(vectors.user), unit_rows(vectors.item))
        return validate_scores(inner_product_scorer(vectors), split)

    return validate


EMBEDDER = Embedder(
    title="LightGCN", settings=lambda config: config.lightgcn, fit=fit_lightgcn, refresh=refresh, ranks=True
)
