"""Frozen dataclasses that say all a run needs; `configs/*.py` build them, the command line overrides them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

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

    def replace(self, **changes: Any) -> Config:
        """The config with other values; two underscores reach a field of a field: `replace(train__epochs=2)`.

        Raises:
          ValueError: there is no such field; names those there are.
        """
        return _replaced(self, changes)


def _replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    names = [field.name for field in dataclasses.fields(config)]
    own, nested = {}, {}
    for path, value in changes.items():
        name, _, rest = path.partition("__")
        if name not in names:
            raise ValueError(f"{type(config).__name__} has no field {name!r}; it has {', '.join(names)}")
        if rest and not dataclasses.is_dataclass(getattr(config, name)):
            raise ValueError(f"{type(config).__name__}.{name} has no fields of its own; set {name}, without __{rest}")
        (nested.setdefault(name, {}) if rest else own)[rest or name] = value
    for name, values in nested.items():
        own[name] = _replaced(own.get(name, getattr(config, name)), values)
    return dataclasses.replace(config, **own)
