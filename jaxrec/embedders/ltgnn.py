"""LTGNN (Zhang et al. 2024) as an embedder: a fixed point of propagation that is trained by one layer a step."""

from __future__ import annotations

import math
import os

import jax
import numpy as np

from jaxrec.config import LtgnnConfig
from jaxrec.config.limits import check_limits
from jaxrec.embedders.embedder import Embedder, Embedding, fold_in
from jaxrec.embedders.propagated import Arrays, Propagation, propagate_over, train_table
from jaxrec.models import ltgnn
from jaxrec.models.lightgcn import Events
from jaxrec.models.neighbours import neighbours
from jaxrec.models.sparse import Adjacency
from jaxrec.training.state import LossWithMemory
from jaxrec.types import Histories, Vectors

LTGNN = Propagation(
    name="ltgnn",
    title=lambda config: "LTGNN",
    propagate=lambda nodes, arrays, config: ltgnn.fixed_point(nodes, arrays["graph"], config.alpha),
)


def fit_ltgnn(
    histories: Histories,
    config: LtgnnConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Embedding:
    """Linear-time graph neural networks (Zhang et al. 2024): outputs, gradients and sums that steps hand on.

    Two things differ from the released code. Vectors, in validation too, are the fixed point itself; there, they are
    three layers towards it, less a fifth of layer 0, which is subtracted in the loss as well. Adam moves every row of
    the table in every step, as LightGCN's; there, the rows of the batch.

    Arguments, result and errors are those of `jaxrec.embedders.propagated.fit_propagated`.
    """
    check_limits(config, LTGNN.name)

    def learn(graph: Adjacency, events: Events) -> tuple[LossWithMemory, Arrays]:
        every = config.refresh_every * math.ceil(len(events.pairs) / config.batch)

        def init(params, buffers) -> ltgnn.Memory:
            return ltgnn.start(params["node"], buffers["graph"], config.alpha)

        def gradients(params, memory, buffers, batch, key):
            loss, gradient, memory = ltgnn.gradients(
                params["node"],
                memory,
                buffers["graph"],
                buffers["neighbours"],
                buffers["events"],
                batch,
                alpha=config.alpha,
                most=config.neighbours,
                every=every,
                regularization=config.regularization,
                key=key,
            )
            return loss, {"node": gradient}, memory

        lists = neighbours(np.asarray(events.pairs), histories.n_users, jax.tree.map(np.asarray, graph))
        return LossWithMemory(init, gradients), {"neighbours": lists}

    return train_table(LTGNN, histories, config, learn, title="LTGNN", valid=valid, seed=seed, folder=folder)


def refresh(embedding: Embedding, histories: Histories, config: LtgnnConfig) -> Vectors:
    """The fixed point of the trained table over the new graph, in which newcomers start from zeros."""
    if embedding.tables is None:
        return fold_in(embedding, histories)
    return propagate_over(LTGNN, embedding.tables, histories, config)


EMBEDDER = Embedder(title="LTGNN", settings=lambda config: config.ltgnn, fit=fit_ltgnn, refresh=refresh, ranks=True)
