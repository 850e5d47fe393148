"""LightGCN (He et al. 2020) and, without layers, BPR-MF (Rendle et al. 2009), ranking by inner products."""

from __future__ import annotations

import pathlib

from jaxrec.baselines.baseline import Baseline
from jaxrec.config import LightGcnConfig
from jaxrec.embedders.inner_product import inner_product_scorer
from jaxrec.embedders.lightgcn import fit_lightgcn
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.types import Split


def _train(settings: LightGcnConfig, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
    embedding = fit_lightgcn(split.train, settings, valid=split.valid, seed=seed, folder=folder)
    return inner_product_scorer(embedding.vectors)


LIGHTGCN = Baseline("LightGCN", LightGcnConfig(), _train)
MF = Baseline("BPR-MF", LightGcnConfig(layers=0), _train)
