"""Converts config.json of the LLaMA family, as written by transformers 5 and earlier, to LlamaConfig and back."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

from jaxrec.config import LlamaConfig, RopeConfig

FIELDS = {
    "vocab": "vocab_size",
    "d_model": "hidden_size",
    "heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "layers": "num_hidden_layers",
}
"""Names in config.json of our fields; all are required, as no default is safe to guess."""
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
KV_HEADS = {"mistral": 8, "qwen2": 32, "qwen3": 32}
"""Key-value heads of a config.json without num_key_value_heads, by model_type; LLaMA: as many as heads."""
KINDS = ("default", "linear", "llama3", "yarn")
STRETCHED = ("llama3", "yarn")
"""Kinds that read the context length of pretraining."""


def config_of(values: Mapping[str, Any], where: str | os.PathLike[str]) -> LlamaConfig:
    """The sizes that a config.json describes; missing values have the defaults of transformers.

    Args:
      values: content of config.json.
      where: its folder, for error messages.
    Raises:
      ValueError: model_type is not supported, a size is missing, or activation or rotary positions are not supported.
    """
    family, activation = values.get("model_type"), values.get("hidden_act", "silu")
    if family not in ARCHITECTURES:
        raise ValueError(
            f"{where}/config.json has model_type={family!r}; a decoder-only model is one of {', '.join(ARCHITECTURES)}"
        )
    if activation != "silu":
        raise ValueError(
            f"{where}/config.json has hidden_act={activation!r}; the {family} models read here have 'silu'"
        )
    missing = [theirs for theirs in FIELDS.values() if values.get(theirs) is None]
    if missing:
        raise ValueError(f"{where}/config.json does not say {', '.join(missing)}")
    sizes = {ours: values[theirs] for ours, theirs in FIELDS.items()}
    attention_bias = family in ("llama", "qwen3") and bool(values.get("attention_bias", False))
    window, windowed = _windows(values, family, sizes["layers"])
    default_width = 128 if family == "qwen3" else sizes["d_model"] // sizes["heads"]
    kv_heads = values.get("num_key_value_heads", KV_HEADS.get(family))
    return LlamaConfig(
        family=family,
        **sizes,
        d_kv=values.get("head_dim") or default_width,
        kv_heads=kv_heads or sizes["heads"],
        rope=_rope(values, where),
        positions=values.get("max_position_embeddings") or 0,
        qkv_bias=family == "qwen2" or attention_bias,
        output_bias=attention_bias,
        mlp_bias=family == "llama" and bool(values.get("mlp_bias", False)),
        qk_norm=family == "qwen3",
        tied=bool(values.get("tie_word_embeddings", False)),
        window=window,
        windowed=windowed,
        dropout=values.get("attention_dropout") or 0.0,
        epsilon=values.get("rms_norm_eps", 1e-6),
    )


def llama_config_json(config: LlamaConfig, tokens: Mapping[str, int | None] | None = None) -> dict[str, Any]:
    """The config.json of a model in float32, from which transformers 4 and 5 build the family's ForCausalLM class.

    Args:
      config: `jaxrec.hub.llama.exported_config(model)`, whose head may be untied though the model's is tied.
      tokens: the tokenizer's bos_token_id, eos_token_id and pad_token_id; None: left out.
    Raises:
      ValueError: the family's config.json cannot express some fields; the message lists them.
    """
    rope, family = config.rope, config.family
    parameters = _rope_parameters(rope)
    values = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "head_dim": config.d_kv,
        "num_key_value_heads": config.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": config.positions or _positions(rope),
        "rms_norm_eps": config.epsilon,
        "tie_word_embeddings": config.tied,
        "attention_dropout": config.dropout,
        "attention_bias": config.output_bias if family == "qwen2" else config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "rope_parameters": parameters,
        "rope_theta": rope.theta,  # transformers 4 reads this and the next
        "rope_scaling": None if rope.kind == "default" else {k: v for k, v in parameters.items() if k != "rope_theta"},
        "use_cache": True,
        "dtype": "float32",
    }
    if family == "mistral":
        values["sliding_window"] = config.window or None
    elif family != "llama":
        layers = range(config.layers)
        has_window = [bool(config.window) and (not config.windowed or n in config.windowed) for n in layers]
        values |= {
            "use_sliding_window": any(has_window),
            "sliding_window": config.window or None,
            "max_window_layers": has_window.index(True) if any(has_window) else config.layers,
            "layer_types": ["sliding_attention" if windowed else "full_attention" for windowed in has_window],
        }
    _check_round_trip(config, values)
    return values | dict(tokens or {})


def _check_round_trip(config: LlamaConfig, values: dict[str, Any]) -> None:
    """Raises ValueError unless reading `values` gives `config` again."""
    all_windowed = config.windowed == tuple(range(config.layers)) or not config.window
    longest, rope = values["max_position_embeddings"], config.rope
    if rope.kind not in STRETCHED:  # which do not read original_length
        rope = dataclasses.replace(rope, original_length=longest)
    expected = dataclasses.replace(
        config, windowed=() if all_windowed else config.windowed, rope=rope, positions=longest
    )
    read = config_of(values, "the written")
    read = dataclasses.replace(read, compute_dtype=config.compute_dtype, remat=config.remat)
    lost = [f.name for f in dataclasses.fields(config) if getattr(read, f.name) != getattr(expected, f.name)]
    if lost:
        parts = ", ".join(f"{name}={getattr(config, name)!r}" for name in lost)
        raise ValueError(f"Hugging Face's {config.family} has no place for {parts}; choose another llama.family")


def _rope(values: Mapping[str, Any], where: str | os.PathLike[str]) -> RopeConfig:
    """Rotary positions: from rope_parameters (transformers 5), or rope_theta and rope_scaling (earlier)."""
    rope: dict[str, Any] = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if any(isinstance(value, Mapping) for value in rope.values()):
        raise ValueError(f"{where}/config.json has other rotary positions for each type of layer, which are not read")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in KINDS:
        raise ValueError(f"{where}/config.json has rotary positions of type {kind!r}; read are {', '.join(KINDS)}")
    if rope.get("partial_rotary_factor", values.get("partial_rotary_factor") or 1.0) != 1:
        raise ValueError(f"{where}/config.json turns a part of each head (partial_rotary_factor), which is not read")
    if kind == "yarn" and not rope.get("truncate", True):
        raise ValueError(f"{where}/config.json has yarn with truncate=false, which is not read")
    longest = values.get("max_position_embeddings") or RopeConfig.original_length
    original = longest
    if kind in STRETCHED:
        original = values.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings")
        original = original or longest
    factor = rope.get("factor")
    return RopeConfig(
        theta=float(rope.get("rope_theta") or values.get("rope_theta") or RopeConfig.theta),
        kind=kind,
        factor=1.0 if kind == "default" else float(factor or (longest / original if kind == "yarn" else 1)),
        original_length=original,
        low=float(rope.get("low_freq_factor", RopeConfig.low)),
        high=float(rope.get("high_freq_factor", RopeConfig.high)),
        beta_slow=float(rope.get("beta_slow") or RopeConfig.beta_slow),
        beta_fast=float(rope.get("beta_fast") or RopeConfig.beta_fast),
        attention_factor=_attention_factor(rope) if kind == "yarn" else None,
    )


def _attention_factor(rope: Mapping[str, Any]) -> float | None:
    """The attention factor of yarn; DeepSeek's mscale and mscale_all_dim are combined into one."""
    scale, scale_all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
    if rope.get("attention_factor") is not None or not (scale and scale_all_dim):
        return rope.get("attention_factor")
    log_factor = math.log(max(rope.get("factor") or 1, 1))
    return (0.1 * scale * log_factor + 1) / (0.1 * scale_all_dim * log_factor + 1)


def _positions(rope: RopeConfig) -> int:
    return round(rope.original_length * rope.factor) if rope.kind in STRETCHED else rope.original_length


def _rope_parameters(rope: RopeConfig) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_type": rope.kind, "rope_theta": rope.theta}
    if rope.kind != "default":
        parameters["factor"] = rope.factor
    if rope.kind in STRETCHED:
        parameters["original_max_position_embeddings"] = rope.original_length
    if rope.kind == "llama3":
        parameters |= {"low_freq_factor": rope.low, "high_freq_factor": rope.high}
    if rope.kind == "yarn":
        parameters |= {"beta_slow": rope.beta_slow, "beta_fast": rope.beta_fast}
        if rope.attention_factor is not None:
            parameters["attention_factor"] = rope.attention_factor
    return parameters


def _windows(values: Mapping[str, Any], family: str, layers: int) -> tuple[int, tuple[int, ...]]:
    """Size of the sliding window (0: none) and the layers that have it (empty: all), by the family's conventions."""
    if family == "llama":
        return 0, ()
    if family == "mistral":
        return values.get("sliding_window", 4096) or 0, ()
    window = values.get("sliding_window", 4096) if values.get("use_sliding_window", False) else None
    if not window:
        return 0, ()
    first = values.get("max_window_layers", 28)
    kinds = values.get("layer_types") or [
        "sliding_attention" if n >= first else "full_attention" for n in range(layers)
    ]
    windowed = tuple(n for n, kind in enumerate(kinds) if kind == "sliding_attention")
    return (window, () if len(windowed) == layers else windowed) if windowed else (0, ())
