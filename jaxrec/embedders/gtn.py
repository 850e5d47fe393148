"""GTN (Fan et al. 2022) as an embedder: LightGCN's training with graph trend filtering in place of its propagation."""

from __future__ import annotations

import os

import numpy as np

from jaxrec.config import GtnConfig
from jaxrec.embedders import propagated
from jaxrec.embedders.embedder import Embedder, Embedding
from jaxrec.embedders.propagated import Propagation, fit_propagated
from jaxrec.models import gtn
from jaxrec.models.sparse import incidence
from jaxrec.types import Histories, Vectors

GTN = Propagation(
    name="gtn",
    title=lambda config: "GTN",
    propagate=lambda nodes, arrays, config: gtn.propagate(nodes, arrays["incidence"], config.layers, config.lambda2),
    arrays=lambda pairs, n_users, n_items: {"incidence": incidence(pairs, n_users, n_items)},
)


def fit_gtn(
    histories: Histories,
    config: GtnConfig,
    *,
    valid: np.ndarray | None = None,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
) -> Embedding:
    """Graph trend filtering networks (Fan et al. 2022), without the dropout of propagated vectors in the released code.

    Arguments, result and errors are those of `jaxrec.embedders.propagated.fit_propagated`.
    """
    return fit_propagated(GTN, histories, config, valid=valid, seed=seed, folder=folder)


def refresh(embedding: Embedding, histories: Histories, config: GtnConfig) -> Vectors:
    """Vectors of all users and items without training, see `jaxrec.embedders.propagated.refresh`."""
    return propagated.refresh(GTN, embedding, histories, config)


EMBEDDER = Embedder(title="GTN", settings=lambda config: config.gtn, fit=fit_gtn, refresh=refresh, ranks=True)
