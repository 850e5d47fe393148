"""Frozen dataclasses that say all a run needs; `configs/*.py` build them, the command line overrides them."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal

from jaxrec.config.data import DataConfig, IdConfig, LightGcnConfig, QuantizerConfig, SkipGramConfig, WalkConfig
from jaxrec.config.models import ModelConfig, RetrievalConfig
from jaxrec.config.tasks import EvalConfig, TaskConfig, TrainConfig


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run. `python -m launch.train configs/NAME.py --train.steps 200` overrides any field."""

    name: str
    embedder: str = "walks"
    """Where vectors come from, a name of `jaxrec.embedders.registry`: "walks", META ID's walks and skip-gram;
    "lightgcn", TokenRec's; "mf", matrix factorisation."""
    answer: Literal["id", "vector"] = "id"
    """What the model says: an item's id token by token (beam search), or a vector to search items with (retrieval)."""
    seed: int = 0
    protocol: Literal["strict", "as-released"] = "strict"
    out: str | None = None
    """The run folder; default runs/NAME."""
    data: DataConfig = DataConfig()
    walks: WalkConfig = WalkConfig()
    skipgram: SkipGramConfig = SkipGramConfig()
    lightgcn: LightGcnConfig = LightGcnConfig()
    ids: IdConfig = IdConfig()
    quantizer: QuantizerConfig = QuantizerConfig()
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.out or f"runs/{self.name}")
