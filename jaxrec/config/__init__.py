"""The configuration of a run: frozen dataclasses, lookup of config and data files, and conversion to and from JSON."""

from jaxrec.config.config import Config
from jaxrec.config.data import (
    DataConfig,
    GtnConfig,
    IdConfig,
    LightGcnConfig,
    LtgnnConfig,
    QuantizerConfig,
    SkipGramConfig,
    WalkConfig,
    WorldConfig,
)
from jaxrec.config.files import data_file, load_config, load_study, presets
from jaxrec.config.json import from_dict, to_json
from jaxrec.config.models import (
    FilterConfig,
    ItemHeadConfig,
    LlamaConfig,
    LoraConfig,
    ModelConfig,
    OovConfig,
    RetrievalConfig,
    RopeConfig,
    T5Config,
)
from jaxrec.config.tasks import (
    NO_AUGMENTATION,
    RANKING,
    WRITING,
    AugmentConfig,
    CollaborativeTokensConfig,
    EvalConfig,
    TaskConfig,
    TrainConfig,
)

__all__ = [
    "NO_AUGMENTATION",
    "RANKING",
    "WRITING",
    "AugmentConfig",
    "CollaborativeTokensConfig",
    "Config",
    "DataConfig",
    "EvalConfig",
    "FilterConfig",
    "GtnConfig",
    "IdConfig",
    "ItemHeadConfig",
    "LightGcnConfig",
    "LlamaConfig",
    "LoraConfig",
    "LtgnnConfig",
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
    "presets",
    "to_json",
]
