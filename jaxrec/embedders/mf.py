"""Matrix factorisation by BPR (Rendle et al. 2009): LightGCN without propagation."""

from __future__ import annotations

import dataclasses

from jaxrec.config import Config, LightGcnConfig
from jaxrec.embedders.embedder import Embedder
from jaxrec.embedders.lightgcn import fit_lightgcn


def _settings(config: Config) -> LightGcnConfig:
    return dataclasses.replace(config.lightgcn, layers=0)


EMBEDDER = Embedder(title="MF", settings=_settings, fit=fit_lightgcn, ranks=True)
