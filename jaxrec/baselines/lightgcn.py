"""LightGCN (He et al. 2020), GTN (Fan et al. 2022), LTGNN (Zhang et al. 2024) and BPR-MF (Rendle et al. 2009)."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from jaxrec.baselines.baseline import Baseline
from jaxrec.config import GtnConfig, LightGcnConfig, LtgnnConfig
from jaxrec.embedders.embedder import Fit
from jaxrec.embedders.gtn import fit_gtn
from jaxrec.embedders.inner_product import InnerProductScorer
from jaxrec.embedders.lightgcn import fit_lightgcn
from jaxrec.embedders.ltgnn import fit_ltgnn
from jaxrec.evaluate.full_ranking import Scorer
from jaxrec.types import Split


def _trained_by(fit: Fit) -> Callable[[Any, Split, int, pathlib.Path], Scorer]:
    def train(settings: Any, split: Split, seed: int, folder: pathlib.Path) -> Scorer:
        embedding = fit(split.train, settings, valid=split.valid, seed=seed, folder=folder)
        return InnerProductScorer(embedding.vectors)

    return train


LIGHTGCN = Baseline("LightGCN", LightGcnConfig(), _trained_by(fit_lightgcn))
MF = Baseline("BPR-MF", LightGcnConfig(layers=0), _trained_by(fit_lightgcn))
GTN = Baseline("GTN", GtnConfig(), _trained_by(fit_gtn))
LTGNN = Baseline("LTGNN", LtgnnConfig(), _trained_by(fit_ltgnn))
