"""Backbones by name; `ModelConfig.backbone` names one."""

from __future__ import annotations

from jaxrec.hub import item_decoder, llama, t5
from jaxrec.hub.backbone import Backbone
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.retriever import Retriever

BACKBONES: dict[str, Backbone] = {
    "t5": t5.BACKBONE,
    "llama": llama.BACKBONE,
    "item_decoder": item_decoder.BACKBONE,
}


def backbone(name: str) -> Backbone:
    """The backbone of this name.

    Raises:
      ValueError: there is none; the message lists all backbones.
    """
    if name not in BACKBONES:
        raise ValueError(f"model.backbone={name!r} is not one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def language_model(model: LanguageModel | Retriever) -> LanguageModel:
    """The model itself, or the backbone of a retriever."""
    return model.backbone if isinstance(model, Retriever) else model


def name_of(model: LanguageModel) -> str:
    """The registry name of a language model's backbone.

    Raises:
      ValueError: no backbone in the registry has its class.
    """
    for name, record in BACKBONES.items():
        if type(model) is record.model:
            return name
    raise ValueError(f"{type(model).__name__} is the model of no backbone in jaxrec.hub.registry; add its record there")
