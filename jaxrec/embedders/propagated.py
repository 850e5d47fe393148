"""Training of a table for the graph of users and items, from which a propagation makes their vectors."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import LightGcnConfig
from jaxrec.config.checks import check_lightgcn
from jaxrec.embedders.embedder import Embedding, fold_in
from jaxrec.embedders.fold_in import unit_rows
from jaxrec.embedders.inner_product import InnerProductScorer
from jaxrec.embedders.shuffled_batches import ShuffledBatches
from jaxrec.evaluate.validation import validate_scores, validation_split
from jaxrec.keys import stream
from jaxrec.models import lightgcn
from jaxrec.models.lightgcn import Events
from jaxrec.models.lightgcn_losses import lightgcn_loss, ranks_by_cosine
from jaxrec.models.sparse import Adjacency, adjacency, arrange, edges, restore
from jaxrec.progress import logger
from jaxrec.training import loop
from jaxrec.training.plan import Plan
from jaxrec.training.state import LossWithMemory, PureLoss
from jaxrec.types import Array, Histories, Vectors

Arrays = Mapping[str, Any]
Learn = Callable[[Adjacency, Events], tuple[PureLoss | LossWithMemory, Arrays]]
"""learn(graph, events) -> a loss of params {"node": layer 0, f32[R,F]} and buffers, and what the buffers shall hold, by
name, besides "graph", "events" and the arrays of the propagation."""


def nothing_else(pairs: np.ndarray, n_users: int, n_items: int) -> Arrays:
    """`Propagation.arrays` where the graph is enough."""
    del pairs, n_users, n_items
    return {}


@dataclasses.dataclass(frozen=True)
class Propagation:
    """How layer 0 becomes vectors, in which LightGCN, GTN and LTGNN differ.

    Attributes:
      name: of the settings in messages.
      title: title(config) -> the method's name in messages.
      propagate: propagate(nodes f32[R,F], arrays, config) -> f32[R,F], pure and differentiable; `arrays["graph"]` is
        the `Adjacency`, in whose rows the nodes stand.
      arrays: arrays(pairs i32[E,2], n_users, n_items) -> what else `propagate` reads, by name.
    """

    name: str
    title: Callable[[Any], str]
    propagate: Callable[[jax.Array, Arrays, Any], jax.Array]
    arrays: Callable[[np.ndarray, int, int], Arrays] = nothing_else


def fit_propagated(
    propagation: Propagation,
    histories: Histories,
    config: LightGcnConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Embedding:
    """Trains layer 0 so that the propagated vectors rank each user's items first.

    A step is a batch of distinct events; an epoch takes every event once. A repeated event counts once, because the
    adjacency is binary. Inner products of the vectors rank items; trained on cosines, the vectors have length 1.

    Args:
      propagation: of layer 0.
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
    check_lightgcn(config, propagation.name)
    for name in config.losses:
        lightgcn_loss(name, propagation.name)
    fit = functools.partial(_fit, propagation, histories, config, valid=valid, seed=seed)
    if len(config.losses) == 1:
        return fit(config.losses[0], folder=folder)
    if valid is None:
        raise ValueError(
            f"{propagation.name}.losses={' '.join(config.losses)!r} are chosen among by validation, and there is no "
            "validation item; name one loss"
        )
    split = validation_split(histories, valid)
    embeddings, values = {}, {}
    for name in config.losses:
        inner = None if folder is None else pathlib.Path(folder) / name
        embeddings[name] = fit(name, folder=inner)
        values[name] = validate_scores(InnerProductScorer(embeddings[name].vectors), split)["ndcg@10"]
    best = max(config.losses, key=values.__getitem__)
    compared = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    logger.info("[%s] loss %s is kept; validation NDCG@10: %s", propagation.title(config), best, compared)
    return dataclasses.replace(embeddings[best], report={"loss": best, "validation_ndcg@10": values})


def _fit(
    propagation: Propagation,
    histories: Histories,
    config: LightGcnConfig,
    loss: str,
    *,
    valid: np.ndarray | None,
    seed: int,
    folder: str | os.PathLike[str] | None,
) -> Embedding:
    """`fit_propagated` with one loss."""
    cosine = ranks_by_cosine(loss, config)

    def learn(graph: Adjacency, events: Events) -> tuple[PureLoss, Arrays]:
        del graph
        most = int(events.degree.max())

        def loss_fn(params, buffers, batch, key):
            return lightgcn_loss(loss).compute(
                params["node"],
                propagation.propagate(params["node"], buffers, config),
                buffers["graph"],
                buffers["events"],
                batch,
                config=config,
                temperature=config.temperature if cosine else None,
                most=most,
                key=key,
            )

        return loss_fn, {}

    title = propagation.title(config) + ("" if loss == "bpr" else f", {loss}")
    return train_table(
        propagation, histories, config, learn, title=title, cosine=cosine, valid=valid, seed=seed, folder=folder
    )


def train_table(
    propagation: Propagation,
    histories: Histories,
    config: Any,
    learn: Learn,
    *,
    title: str,
    cosine: bool = False,
    valid: np.ndarray | None,
    seed: int,
    folder: str | os.PathLike[str] | None,
) -> Embedding:
    """Trains layer 0 by a loss of shuffled batches of distinct events, and propagates the best one.

    Args:
      propagation: of layer 0, for validation and for the result.
      histories: training events.
      config: with `dim`, `batch`, `learning_rate`, `epochs`, `validate_every` and `patience`.
      learn: the loss, see `Learn`.
      title: of the run in messages.
      cosine: whether vectors are scaled to length 1.
      valid: validation items, i32[U], or None.
      seed: of initial values, order and negatives.
      folder: for checkpoints and metrics, or None.
    Returns:
      Vectors, and as tables layer 0; rows of zeros for users and items without an event.
    Raises:
      ValueError: there is no event.
    """
    arrays, pairs = _arrays_of(propagation, histories)
    graph = arrays["graph"]
    if not len(pairs):
        raise ValueError("histories hold no event to learn from; is the training part of the split empty?")
    key = stream(jax.random.key(seed), "lightgcn")
    n_nodes = histories.n_users + histories.n_items
    node = lightgcn.init(n_nodes, config.dim, key=stream(key, "tables"))
    steps = math.ceil(config.epochs * len(pairs) / config.batch)
    batches = ShuffledBatches(np.arange(len(pairs), dtype=np.int32), batch=config.batch, batches=steps, seed=seed)
    events = lightgcn.events(pairs, histories.n_users)
    loss_fn, others = learn(graph, events)
    validate, validate_every = None, 0
    if valid is not None and config.validate_every:
        validate = _validation_of(propagation, histories, valid, config, names=tuple(arrays), cosine=cosine)
        validate_every = math.ceil(config.validate_every * len(pairs) / config.batch)
    fitted = loop.fit(
        loss_fn,
        {"node": arrange(graph, jnp.where(graph.scale[graph.place, None] > 0, node, 0.0))},
        {**arrays, **jax.tree.map(jnp.asarray, {"events": events, **others})},
        optax.adam(config.learning_rate),
        batches.dataset(),
        Plan(steps, name=title, validate_every=validate_every, patience=config.patience),
        key=stream(key, "steps"),
        folder=folder,
        count=lambda batch: {"examples": len(batch)},
        validate=validate,
    )
    tables = _vectors_of(graph, fitted.best_params["node"], histories.n_users)
    return Embedding(_comparable(propagate_over(propagation, tables, histories, config), cosine), tables, cosine=cosine)


def propagate_over(propagation: Propagation, tables: Vectors, histories: Histories, config: Any) -> Vectors:
    """Layer-0 tables propagated over a graph, which may be newer than the one they were trained on.

    Users and items without a row in the tables start from zeros, so that their vectors come from their neighbours
    alone. Nothing is trained.

    Args:
      propagation: which one.
      tables: layer 0; at most as many users and items as `histories`, in which additional ones come last.
      histories: events of the graph.
      config: of the propagation.
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
    arrays, _ = _arrays_of(propagation, histories)
    graph = arrays["graph"]
    n_nodes, width = histories.n_users + histories.n_items, tables.user.shape[1]
    node = np.zeros((n_nodes, width), np.float32)
    node[: len(tables.user)] = tables.user
    node[histories.n_users : histories.n_users + len(tables.item)] = tables.item
    return _vectors_of(graph, _propagated(propagation, arrange(graph, node), arrays, config), histories.n_users)


def refresh(propagation: Propagation, embedding: Embedding, histories: Histories, config: Any) -> Vectors:
    """Vectors from the trained tables over the new graph; TokenRec, section 2.5.2. Without layers, a fold-in."""
    if embedding.tables is None or not config.layers:
        return fold_in(embedding, histories)
    return _comparable(propagate_over(propagation, embedding.tables, histories, config), embedding.cosine)


def _comparable(vectors: Vectors, cosine: bool) -> Vectors:
    """Vectors of length 1 where cosines rank."""
    return Vectors(unit_rows(vectors.user), unit_rows(vectors.item)) if cosine else vectors


@functools.partial(jax.jit, static_argnums=(0, 3))
def _propagated(propagation: Propagation, nodes: jax.Array, arrays: Arrays, config: Any) -> jax.Array:
    return propagation.propagate(nodes, arrays, config)


def _arrays_of(propagation: Propagation, histories: Histories) -> tuple[dict[str, Any], np.ndarray]:
    """What the propagation reads of the events' graph, on the device, and its edges i32[E, 2]."""
    pairs = edges(histories.users, histories.items, histories.n_items)
    of_graph = (pairs, histories.n_users, histories.n_items)
    arrays = {"graph": adjacency(*of_graph), **propagation.arrays(*of_graph)}
    return jax.tree.map(jnp.asarray, arrays), pairs


def _vectors_of(graph: Adjacency, node: Array, n_users: int) -> Vectors:
    """Rows of the graph's nodes, f32[R, F], as users' and items' vectors, zeros for those without a neighbour."""
    has_neighbour = np.asarray(graph.scale)[np.asarray(graph.place)] > 0
    rows = np.where(has_neighbour[:, None], np.asarray(restore(graph, node)), 0.0).astype(np.float32)
    return Vectors(rows[:n_users], rows[n_users:])


def _validation_of(
    propagation: Propagation,
    histories: Histories,
    valid: np.ndarray,
    config: Any,
    *,
    names: Collection[str],
    cosine: bool,
) -> loop.Validate:
    """validate(params, buffers) -> NDCG@10 and HR@10 of the validation items; `names` of what propagation reads."""
    split = validation_split(histories, valid)

    def validate(params, buffers) -> dict[str, float]:
        arrays = {name: buffers[name] for name in names}  # as others call it: one trace
        node = _propagated(propagation, params["node"], arrays, config)
        vectors = _comparable(_vectors_of(buffers["graph"], node, histories.n_users), cosine)
        return validate_scores(InnerProductScorer(vectors), split)

    return validate
