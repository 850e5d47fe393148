"""Matrix factorisation by BPR (Rendle et al. 2009): LightGCN without propagation."""

from __future__ import annotations

import dataclasses

from jaxrec.config import Config
from jaxrec.embedders import lightgcn
from jaxrec.embedders.embedder import Embedder


def _without_layers(config: Config) -> Config:
    return dataclasses.replace(config, lightgcn=dataclasses.replace(config.lightgcn, layers=0))


EMBEDDER = Embedder(
    title="MF",
    fit=lambda histories, config, **rest: lightgcn.fit(histories, _without_layers(config), name="mf", **rest),
    settings=lambda config: _without_layers(config).lightgcn,
    ranks=True,
)
