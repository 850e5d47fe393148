"""LoRA factors stored beside the base model that they adapt, as `peft` loads them."""

from __future__ import annotations

import pathlib

import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from jaxrec.hub import llama
from jaxrec.hub.files import write_tensors
from jaxrec.hub.tables import write_json
from jaxrec.models.llama import Llama

BASE = "base"
"""The folder of a base model that was never trained: no hub has it."""


def write_adapter(folder: pathlib.Path, model: Llama, base: str | None, shard_bytes: int) -> None:
    """Writes adapter_config.json and adapter_model.safetensors, and base/ where the base model is of random weights.

    Args:
      folder: where to.
      model: with LoRA of rank > 0.
      base: folder or hub name of the base model; None: random weights.
      shard_bytes: as `write_tensors`.
    Raises:
      ValueError: the model has no LoRA that an adapter could hold.
    """
    config, flat = llama.peft_adapter(model)
    write_json(folder / "adapter_config.json", config | {"base_model_name_or_path": base or BASE})
    save_file(flat, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    if base is not None:
        return
    (folder / BASE).mkdir()
    weights = dict(nnx.to_flat_state(nnx.state(model)))
    frozen = {
        name: np.asarray(weights[path][...].T if transposed else weights[path][...])
        for path, (name, transposed) in llama.tensor_names(model.config).items()
    }
    write_tensors(folder / BASE, frozen, shard_bytes)
    write_json(folder / BASE / "config.json", llama.llama_config_json(model.config) | {"dtype": model.lora.base_dtype})
