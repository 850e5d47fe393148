"""The record of the item decoder: LLaMA's layers over items; it starts from random weights and is not exported."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from jaxrec.config import LlamaConfig, ModelConfig
from jaxrec.hub.backbone import Backbone
from jaxrec.models.item_decoder import ItemDecoder


def _build(
    shape: LlamaConfig,
    settings: ModelConfig,
    anchors: np.ndarray | jax.Array | None,
    first_oov: int,
    start: int,
    *,
    rngs: nnx.Rngs,
) -> ItemDecoder:
    return ItemDecoder(shape, settings.oov, settings.filter, anchors, first_oov, start, rngs=rngs)


def _shape(settings: ModelConfig) -> LlamaConfig:
    """The sizes.

    Raises:
      ValueError: they ask for what an item decoder doesn't have.
    """
    shape = settings.llama
    if shape.window or not shape.tied:
        raise ValueError(
            f"model.llama.window={shape.window} and tied={shape.tied}: an item decoder attends to all items, and its "
            "head is the embedding table; set window 0 and tied true"
        )
    return shape


def _sharding(fsdp: bool) -> Sequence[tuple[str, PartitionSpec]]:
    return ((r"embedding/table$", PartitionSpec("model", "data" if fsdp else None)),)


BACKBONE = Backbone(
    label="item decoder",
    model=ItemDecoder,
    shape=_shape,
    build=_build,
    depth=lambda shape: str(shape.layers),
    decoder_only=True,
    items_alone=True,
    suffix=" (item decoder)",
    sharding=_sharding,
)
