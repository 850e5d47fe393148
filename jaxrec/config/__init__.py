"""Frozen dataclasses that say all a run needs; `configs/*.py` build them, the command line overrides them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pathlib
from typing import Any, Literal

from jaxrec.config.data import (
    DataConfig,
    IdConfig,
    LightGcnConfig,
    QuantizerConfig,
    SkipGramConfig,
    WalkConfig,
    WorldConfig,
)
from jaxrec.config.models import LlamaConfig, LoraConfig, ModelConfig, OovConfig, RetrievalConfig, RopeConfig, T5Config
from jaxrec.config.tasks import RANKING, WRITING, EvalConfig, TaskConfig, TrainConfig

__all__ = [
    "RANKING",
    "WRITING",
    "Config",
    "DataConfig",
    "EvalConfig",
    "IdConfig",
    "LightGcnConfig",
    "LlamaConfig",
    "LoraConfig",
    "ModelConfig",
    "OovConfig",
    "QuantizerConfig",
    "RetrievalConfig",
    "RopeConfig",
    "SkipGramConfig",
    "T5Config",
    "TaskConfig",
    "TrainConfig",
    "WalkConfig",
    "WorldConfig",
    "data_file",
    "from_dict",
    "load_config",
    "load_study",
    "to_json",
]


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run. `python -m launch.train configs/NAME.py --train.steps 200` overrides any field."""

    name: str
    embedder: Literal["walks", "lightgcn", "mf"] = "walks"
    """Where vectors come from: META ID's walks and skip-gram, TokenRec's LightGCN, or matrix factorisation."""
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


def load_config(path: str | os.PathLike[str]) -> Config:
    """The `config` that a configs/*.py file builds.

    Raises:
      ValueError: there is no such file, or it builds no `config`; names the files there are.
    """
    config = getattr(_module(path), "config", None)
    if not isinstance(config, Config):
        raise ValueError(f"{path!s} builds no `config = Config(...)`; see configs/demo.py")
    return config


def load_study(path: str | os.PathLike[str]) -> dict[str, Config]:
    """The `study` that a configs/*.py file builds: configs by the names of their rows; or its one `config`.

    Raises:
      ValueError: there is no such file, or it builds neither; names the files there are.
    """
    module = _module(path)
    study = getattr(module, "study", None)
    if study is None and isinstance(config := getattr(module, "config", None), Config):
        study = {config.name: config}
    if not isinstance(study, dict) or not study or not all(isinstance(c, Config) for c in study.values()):
        raise ValueError(f"{path!s} builds no `study` of configs by name, nor a `config`; see configs/demo_study.py")
    return study


def _module(path: str | os.PathLike[str]) -> Any:
    file = pathlib.Path(path)
    if not file.is_file():
        found = ", ".join(sorted(str(p) for p in pathlib.Path("configs").glob("*.py"))) or "none here"
        raise ValueError(f"config {path!s} is not a file; there are: {found}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_file(path: str) -> pathlib.Path:
    """Where a data file is: as given, or under $JAXREC_DATA, data/ or ../shared/data, the first that exists.

    Raises:
      ValueError: it is nowhere; names every place that was tried.
    """
    roots = [os.environ.get("JAXREC_DATA"), "data", "../shared/data"]
    tried = list(dict.fromkeys([pathlib.Path(path), *(pathlib.Path(r) / path for r in roots if r)]))  # absolute: one
    for file in tried:
        if file.exists():
            return file
    places = ", ".join(str(p) for p in tried)
    raise ValueError(f"data file {path!r} is at none of: {places}; fetch it with python -m launch.download")


def to_json(config: Any) -> str:
    """A config as indented JSON, for config.json."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The inverse of `dataclasses.asdict` for the classes of this file.

    Raises:
      ValueError: a field is not known; names it.
    """
    hints = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(hints)}")
    built = {}
    for name, value in values.items():
        default = hints[name].default
        if dataclasses.is_dataclass(default):
            value = from_dict(type(default), value)
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return kind(**built)
