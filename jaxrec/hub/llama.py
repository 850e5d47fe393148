"""Converts weights of the LLaMA family from and to Hugging Face's format, and LoRA factors to a `peft` adapter."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from jaxrec.config import LlamaConfig, ModelConfig
from jaxrec.hub.backbone import Backbone, HuggingFace
from jaxrec.hub.files import folder_of, read_config, read_tensors
from jaxrec.hub.llama_config import config_of, llama_config_json
from jaxrec.models.linear import Linear, LowRank
from jaxrec.models.llama import Llama

TABLE = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
TABLES = (TABLE, HEAD)
PROJECTIONS = {
    "attention": {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"},
    "feed_forward": {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
}
MODULES = {"attention": "self_attn", "feed_forward": "mlp"}
NORMS = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
TARGETS = {
    "attention": tuple(PROJECTIONS["attention"].values()),
    "mlp": tuple(PROJECTIONS["feed_forward"].values()),
    "embedding": ("embed_tokens",),
    "head": ("lm_head",),
}
"""Hugging Face's module names by LoraConfig.targets."""
UNUSED = "rotary_emb.inv_freq"
"""Tensor stored per layer by old models; its values follow from config.json."""
Path = tuple[str | int, ...]


def tensor_names(config: LlamaConfig) -> dict[Path, tuple[str, bool]]:
    """For the path of each base-model weight, its Hugging Face name and whether it is stored transposed."""
    names: dict[Path, tuple[str, bool]] = {("embedding", "table"): (TABLE, False)}
    biased = {
        "attention": {"query", "key", "value"} if config.qkv_bias else set(),
        "feed_forward": set(PROJECTIONS["feed_forward"]) if config.mlp_bias else set(),
    }
    if config.output_bias:
        biased["attention"] |= {"output"}
    for n in range(config.layers):
        path, prefix = ("layers", n), f"model.layers.{n}"
        for ours, theirs in NORMS.items():
            names[*path, ours, "scale"] = (f"{prefix}.{theirs}.weight", False)
        for part, projections in PROJECTIONS.items():
            for ours, theirs in projections.items():
                names[*path, part, ours, "kernel"] = (f"{prefix}.{MODULES[part]}.{theirs}.weight", True)
                if ours in biased[part]:
                    names[*path, part, ours, "bias"] = (f"{prefix}.{MODULES[part]}.{theirs}.bias", False)
        for ours, theirs in {"query_norm": "q_norm", "key_norm": "k_norm"}.items() if config.qk_norm else ():
            names[*path, "attention", ours, "scale"] = (f"{prefix}.self_attn.{theirs}.weight", False)
    names["norm", "scale"] = ("model.norm.weight", False)
    if not config.tied:
        names["head", "table"] = (HEAD, False)
    return names


def read_llama(folder_or_name: str | os.PathLike[str]) -> tuple[LlamaConfig, dict[str, np.ndarray]]:
    """Sizes and weights of a stored LLaMA, Mistral, Qwen 2 or Qwen 3.

    Args:
      folder_or_name: a folder with config.json and weights (see `read_tensors`), or a name on the hub; HF_HUB_OFFLINE=1
        uses only the local cache.
    Returns:
      The sizes, and arrays by Hugging Face's names, in its layouts and in their stored dtype; without the head where it
      is tied to the table.
    Raises:
      ValueError: there is no such folder or name, a file is missing or damaged, it is another kind of model, a tied
        head differs from the table, or the table's rows are not vocab_size.
    """
    folder = folder_of(folder_or_name, "decoder-only model")
    config = config_of(read_config(folder), folder)
    flat = {name: value for name, value in read_tensors(folder).items() if not name.endswith(UNUSED)}
    if config.tied and HEAD in flat:
        head = flat.pop(HEAD)
        if not np.array_equal(flat.setdefault(TABLE, head), head):
            raise ValueError(
                f"{folder}/config.json ties the head to the table, but {HEAD} differs from {TABLE}; "
                "write tie_word_embeddings=false where the head is meant to be its own"
            )
    if TABLE in flat and len(flat[TABLE]) != config.vocab:
        raise ValueError(f"{folder}: {TABLE} has {len(flat[TABLE])} rows, config.json's vocab_size is {config.vocab}")
    return config, flat


def exported_config(model: Llama) -> LlamaConfig:
    """The sizes of the model that `to_hf` returns: `tied` is false where merging makes head and input table differ.

    That is the case with an OOV projection of scope "encoder", and with LoRA on the embedding or the head.
    """
    adapted = model.embedding_adapter is not None or model.head_adapter is not None
    split = model.embedding.scope == "encoder" or adapted
    return dataclasses.replace(model.config, tied=model.config.tied and not split)


def to_hf(model: Llama) -> dict[str, np.ndarray]:
    """All weights by Hugging Face's names and in its layouts, contiguous f32, with LoRA and OOV projection merged.

    `llama_config_json(exported_config(model))` describes it.
    """
    flat = {}
    for path, (name, transposed) in tensor_names(exported_config(model)).items():
        if name in TABLES:
            value = _folded(model, input_table(model)) if name == TABLE else _head_table(model)
        else:
            module = _at(model, path[:-1])
            value = (
                module.whole() if isinstance(module, Linear) and path[-1] == "kernel" else _at(module, path[-1:])[...]
            )
        flat[name] = _host(value.T if transposed else value)
    return flat


def input_table(model: Llama) -> jax.Array:
    """Input embeddings with LoRA merged, without the OOV projection, f32[V,D]."""
    table = model.embedding.whole()
    return table if model.embedding_adapter is None else table + model.embedding_adapter.whole()


def peft_adapter(model: Llama) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The LoRA factors as a `peft` adapter, for a base model without the new tokens.

    Users resize the base model's embeddings to V rows (`resize_token_embeddings`) before they load the adapter. The
    adapter holds the full input table and head, with new rows and OOV projection. Where the base model ties the two and
    the projection has scope "encoder", the input table is in peft's modules_to_save, with its LoRA merged.

    Returns:
      The content of adapter_config.json, and the tensors of adapter_model.safetensors, contiguous f32.
    Raises:
      ValueError: the model has no LoRA, or LoRA only on an embedding into which it is merged.
    """
    lora = model.lora
    targets = [module for target in TARGETS if target in lora.targets for module in TARGETS[target]]
    own_input = model.config.tied and model.embedding.scope == "encoder"
    if own_input and "embed_tokens" in targets:
        targets.remove("embed_tokens")
    if not lora.rank or not targets:
        raise ValueError(
            f"a model with lora.rank={lora.rank}, lora.targets={lora.targets} and OOV scope {model.embedding.scope!r} "
            "leaves nothing for an adapter; export the whole model"
        )
    alpha = int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
        "modules_to_save": ["embed_tokens"] if own_input else None,
        "bias": "none",
        "fan_in_fan_out": False,
    }
    flat = {}
    for path, (name, _) in tensor_names(model.config).items():
        module = _at(model, path[:-1])
        if path[-1] == "kernel" and module.adapter is not None:
            flat |= _factors(module.adapter, _in_peft(name), "lora_{}.weight")
    if model.embedding_adapter is not None and not own_input:
        flat |= _factors(model.embedding_adapter, _in_peft(TABLE), "lora_embedding_{}")
    if model.head_adapter is not None:
        flat |= _factors(model.head_adapter, _in_peft(HEAD), "lora_{}.weight")

    def store(name: str, module: str, table: jax.Array) -> None:
        flat[f"{_in_peft(name)}.{'base_layer.' if module in targets else ''}weight"] = _host(table)

    store(TABLE, "embed_tokens", _folded(model, input_table(model) if own_input else model.embedding.whole()))
    store(HEAD, "lm_head", _head_table(model, adapted=False))
    return config, flat


def _in_peft(name: str) -> str:
    return f"base_model.model.{name.removesuffix('.weight')}"


def _factors(adapter: LowRank, module: str, pattern: str) -> dict[str, np.ndarray]:
    factors = {"A": adapter.a, "B": adapter.b}
    return {f"{module}.{pattern.format(letter)}": _host(factor[...].T) for letter, factor in factors.items()}


def _folded(model: Llama, table: jax.Array) -> jax.Array:
    """A table with the OOV projection added to the rows of new tokens."""
    embedding = model.embedding
    if embedding.scope == "none":
        return table
    anchors = embedding.anchors[...]
    added = jnp.dot(anchors, embedding.kernel[...], precision=jax.lax.Precision.HIGHEST)
    new = slice(embedding.first_oov, embedding.first_oov + len(anchors))
    return table.at[new].add(embedding.alpha * added)


def _head_table(model: Llama, *, adapted: bool = True) -> jax.Array:
    """Output embeddings f32[V,D], with LoRA merged if `adapted`."""
    if model.head is not None:
        table = model.head.whole()
    else:
        table = model.embedding.whole()
        if model.embedding.scope == "shared":
            table = _folded(model, table)
    if adapted and model.head_adapter is not None:
        table = table + model.head_adapter.whole().T
    return table


def _at(module: Any, path: Path) -> Any:
    for part in path:
        module = module[part] if isinstance(part, int) else getattr(module, part)
    return module


def _host(value: jax.Array) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(value, np.float32))


def _build(
    shape: LlamaConfig,
    settings: ModelConfig,
    anchors: np.ndarray | jax.Array | None,
    first_oov: int,
    start: int,
    *,
    rngs: nnx.Rngs,
) -> Llama:
    return Llama(shape, settings.oov, settings.lora, anchors, first_oov, start, rngs=rngs)


def _sharding(fsdp: bool) -> tuple[tuple[str, PartitionSpec], ...]:
    """Tensor parallelism over `model` (Shoeybi et al. 2019): one all-reduce per attention and feed-forward block.

    With `fsdp`, tables and matrices are sharded over `data` as well, along their other axis.
    """
    data = "data" if fsdp else None
    return (
        (r"(embedding|head)/table$", PartitionSpec("model", data)),
        (r"(embedding|head)/rows$", PartitionSpec(None, data)),
        (r"/(query|key|value|gate|up)/kernel$", PartitionSpec(data, "model")),
        (r"/(output|down)/kernel$", PartitionSpec("model", data)),
    )


BACKBONE = Backbone(
    label="LLaMA",
    model=Llama,
    shape=lambda settings: settings.llama,
    build=_build,
    depth=lambda shape: str(shape.layers),
    decoder_only=True,
    lora=True,
    suffix=" (L)",
    sharding=_sharding,
    hugging_face=HuggingFace(
        transformers_class="AutoModelForCausalLM",
        table=TABLE,
        head=HEAD,
        read=read_llama,
        tensor_names=tensor_names,
        to_hf=to_hf,
        exported_shape=exported_config,
        config_json=llama_config_json,
        input_table=input_table,
        peft_adapter=peft_adapter,
    ),
)
