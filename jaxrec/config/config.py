"""The config of a whole run; `configs/*.py` build one, the command line overrides its fields."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

from jaxrec.config.data import (
    DataConfig,
    GtnConfig,
    IdConfig,
    LightGcnConfig,
    LtgnnConfig,
    QuantizerConfig,
    SkipGramConfig,
    TextsConfig,
    WalkConfig,
)
from jaxrec.config.limits import Seed
from jaxrec.config.models import ItemHeadConfig, ModelConfig, RetrievalConfig
from jaxrec.config.tasks import EvalConfig, TaskConfig, TrainConfig


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run. `python -m launch.train configs/demo.py --train.steps 200` overrides any field."""

    name: str
    """Of the run, in messages and tables."""
    embedder: str = "walks"
    """The embedder that computes collaborative vectors, a name in `jaxrec.embedders.registry`: "walks" (META ID's
    random walks and skip-gram), "lightgcn" (TokenRec), "gtn" (graph trend filtering), "ltgnn" (a fixed
    point, trained over drawn neighbours), "mf" (matrix factorisation), or "texts" (titles and attributes of items,
    without any event)."""
    answer: Literal["id", "vector", "both"] = "id"
    """What the model outputs: "id", an item's id token by token (beam search); "vector", a query vector for
    nearest-neighbour retrieval among item vectors; "both", the id and, by a head over all items, the item itself, of
    task "autoregressive" (see `ItemHeadConfig`)."""
    seed: Seed = 0
    """Of everything that is drawn at random; a generated world depends on it, too."""
    protocol: Literal["strict", "as-released"] = "strict"
    """"strict": embedder and ids learn from training events alone. "as-released": the embedder sees every event,
    held-out ones included, as in the papers' released code, and so do ids that are made from its vectors."""
    out: str | None = None
    """The run folder; None: runs/NAME."""
    data: DataConfig = DataConfig()
    walks: WalkConfig = WalkConfig()
    skipgram: SkipGramConfig = SkipGramConfig()
    lightgcn: LightGcnConfig = LightGcnConfig()
    gtn: GtnConfig = GtnConfig()
    ltgnn: LtgnnConfig = LtgnnConfig()
    texts: TextsConfig = TextsConfig()
    ids: IdConfig = IdConfig()
    quantizer: QuantizerConfig = QuantizerConfig()
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    item_head: ItemHeadConfig = ItemHeadConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def folder(self) -> pathlib.Path:
        """The run folder: `out`, or runs/NAME."""
        return pathlib.Path(self.out or f"runs/{self.name}")

    def replace(self, **changes: Any) -> Config:
        """A copy with some fields changed; two underscores reach a nested field: `replace(train__epochs=2)`.

        Raises:
          ValueError: a field does not exist; the message lists the fields that do.
        """
        return _replaced(self, changes)


def _replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    names = [field.name for field in dataclasses.fields(config)]
    direct, nested = {}, {}
    for path, value in changes.items():
        name, _, rest = path.partition("__")
        if name not in names:
            raise ValueError(f"{type(config).__name__} has no field {name!r}; it has {', '.join(names)}")
        if rest and not dataclasses.is_dataclass(getattr(config, name)):
            raise ValueError(f"{type(config).__name__}.{name} has no fields of its own; set {name}, without __{rest}")
        (nested.setdefault(name, {}) if rest else direct)[rest or name] = value
    for name, values in nested.items():
        direct[name] = _replaced(direct.get(name, getattr(config, name)), values)
    return dataclasses.replace(config, **direct)
