"""Backbones by name; `ModelConfig.backbone` names one."""

from __future__ import annotations

from jaxrec.hub import llama, t5
from jaxrec.hub.backbone import Backbone
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever

BACKBONES: dict[str, Backbone] = {
    "t5": t5.BACKBONE,
    "llama": llama.BACKBONE,
}


def backbone(name: str) -> Backbone:
    """The backbone of this name.

    Raises:
      ValueError: there is none; names those there are.
    """
    if name not in BACKBONES:
        raise ValueError(f"model.backbone={name!r} is not one of {', '.join(BACKBONES)}; name one of these")
    return BACKBONES[name]


def language_model(model: LanguageModel | Retriever) -> LanguageModel:
    """The language model in a model."""
    return model.backbone if isinstance(model, Retriever) else model


def name_of(model: LanguageModel) -> str:
    """The name of a language model's backbone.

    Raises:
      ValueError: its class is in no record.
    """
    for name, record in BACKBONES.items():
        if type(model) is record.model:
            return name
    raise ValueError(f"{type(model).__name__} is the model of no backbone in jaxrec.hub.registry; add its record there")
