"""LoRA factors stored beside the base model that they adapt, as `peft` loads them."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from jaxrec.export.tables import write_json
from jaxrec.hub.backbone import HuggingFace
from jaxrec.hub.files import write_tensors
from jaxrec.models.language_model import LanguageModel

BASE = "base"
"""The folder of a base model that was never trained: no hub has it."""
_ON_A_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def base_of(init_from: str | None) -> dict[str, Any]:
    """What weights started from, as jaxrec.json says it: `kind` is "random", "folder" (of whoever trained) or "hub"."""
    kind = "random" if init_from is None else "hub"
    if init_from is not None and (pathlib.Path(init_from).is_dir() or not _ON_A_HUB.fullmatch(init_from)):
        kind = "folder"
    return {"kind": kind, "name": init_from}


def write_adapter(
    folder: pathlib.Path,
    model: LanguageModel,
    form: HuggingFace,
    base: str | None,
    shard_bytes: int,
    tokens: dict[str, int | None],
) -> None:
    """Writes adapter_config.json and adapter_model.safetensors, and base/ where the base model is of random weights.

    Args:
      folder: where to.
      model: with LoRA of rank > 0.
      form: how its backbone is stored; it has a `peft_adapter`.
      base: folder or hub name of the base model; None: random weights.
      shard_bytes: as `write_tensors`.
      tokens: what config.json says of tokens, bos_token_id and so on.
    Raises:
      ValueError: the model has no LoRA that an adapter could hold.
    """
    assert form.peft_adapter is not None
    config, flat = form.peft_adapter(model)
    write_json(folder / "adapter_config.json", config | {"base_model_name_or_path": base or BASE})
    save_file(flat, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    if base is not None:
        return
    (folder / BASE).mkdir()
    weights = dict(nnx.to_flat_state(nnx.state(model)))
    frozen = {
        name: np.asarray(weights[path][...].T if transposed else weights[path][...])
        for path, (name, transposed) in form.tensor_names(model.config).items()
    }
    write_tensors(folder / BASE, frozen, shard_bytes)
    values = form.config_json(model.config, tokens) | {"dtype": model.lora.base_dtype}
    write_json(folder / BASE / "config.json", values)
