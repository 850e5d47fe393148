"""Writes LoRA factors as an adapter that `peft` loads, with the base model where that has random weights."""

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
"""Subfolder for a base model of random weights, which no hub has."""
_ON_A_HUB = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def base_of(init_from: str | None) -> dict[str, Any]:
    """The base model in jaxrec.json: `name`, and `kind`, which is "random", "folder" (a local one) or "hub"."""
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
    """Writes adapter_config.json and adapter_model.safetensors, and base/ for a base model of random weights.

    Args:
      folder: an existing folder.
      model: with LoRA of rank > 0.
      form: Hugging Face format of its backbone, with a `peft_adapter`.
      base: folder or hub name of the base model; None: random weights.
      shard_bytes: as for `write_tensors`.
      tokens: bos_token_id, eos_token_id and pad_token_id for config.json.
    Raises:
      ValueError: the model has no LoRA factors that an adapter can hold.
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
