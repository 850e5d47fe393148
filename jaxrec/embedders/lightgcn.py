"""TokenRec's embedder: LightGCN, or matrix factorisation, and its refresh over a newer graph."""

from __future__ import annotations

import os

import numpy as np

from jaxrec.config import LightGcnConfig
from jaxrec.embedders import propagated
from jaxrec.embedders.embedder import Embedder, Embedding
from jaxrec.embedders.propagated import Propagation, fit_propagated, propagate_over
from jaxrec.models import lightgcn
from jaxrec.types import Histories, Vectors

LIGHTGCN = Propagation(
    name="lightgcn",
    title=lambda config: "LightGCN" if config.layers else "MF",
    propagate=lambda nodes, arrays, config: lightgcn.propagate(nodes, arrays["graph"], config.layers),
)


def fit_lightgcn(
    histories: Histories,
    config: LightGcnConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Embedding:
    """LightGCN (He et al. 2020), the embedder of TokenRec, section 2.3; with no layers, matrix factorisation.

    Arguments, result and errors are those of `jaxrec.embedders.propagated.fit_propagated`.
    """
    return fit_propagated(LIGHTGCN, histories, config, valid=valid, seed=seed, folder=folder)


def propagate(tables: Vectors, histories: Histories, layers: int) -> Vectors:
    """LightGCN's `jaxrec.embedders.propagated.propagate_over`; without layers, the tables."""
    return propagate_over(LIGHTGCN, tables, histories, LightGcnConfig(layers=layers))


def refresh(embedding: Embedding, histories: Histories, config: LightGcnConfig) -> Vectors:
    """Vectors of all users and items without training, see `jaxrec.embedders.propagated.refresh`."""
    return propagated.refresh(LIGHTGCN, embedding, histories, config)


EMBEDDER = Embedder(
    title="LightGCN", settings=lambda config: config.lightgcn, fit=fit_lightgcn, refresh=refresh, ranks=True
)
