"""T5 weights from and to Hugging Face's names and layouts, by one table of patterns, without PyTorch."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from jaxrec.config import ModelConfig, T5Config
from jaxrec.hub.backbone import Backbone, HuggingFace
from jaxrec.hub.files import folder_of, read_config, read_tensors
from jaxrec.models.t5 import T5

ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}
FEED_FORWARD = {
    "relu": {"expand": "wi", "contract": "wo"},
    "gated-gelu": {"gate": "wi_0", "expand": "wi_1", "contract": "wo"},
}
FIELDS = {
    "vocab": "vocab_size",
    "d_model": "d_model",
    "d_kv": "d_kv",
    "heads": "num_heads",
    "d_ff": "d_ff",
    "encoder_layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance",
    "dropout": "dropout_rate",
    "epsilon": "layer_norm_epsilon",
}
"""Our fields by config.json's; both have the same defaults."""
ACTIVATIONS = {"relu": "relu", "gated-gelu": "gelu_new"}
"""config.json's dense_act_fn by its feed_forward_proj."""
ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
TABLE = "shared.weight"
HEAD = "lm_head.weight"
TABLES = (TABLE, HEAD)
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
"""Stored with old T5 models and never used."""


def tensor_names(config: T5Config) -> dict[tuple[str | int, ...], tuple[str, bool]]:
    """Our path of every parameter, to Hugging Face's name and whether the array is transposed there."""
    names: dict[tuple[str | int, ...], tuple[str, bool]] = {("embedding", "table"): (TABLE, False)}
    for stack, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        names[stack, "bias", "table"] = (bias, False)
        names[stack, "norm", "scale"] = (f"{stack}.final_layer_norm.weight", False)
        parts = {"attention": ("SelfAttention", ATTENTION)}
        if stack == "decoder":
            parts["cross"] = ("EncDecAttention", ATTENTION)
        parts["feed_forward"] = ("DenseReluDense", FEED_FORWARD[config.activation])
        for n in range(layers):
            for place, (part, (module, kernels)) in enumerate(parts.items()):
                there = f"{stack}.block.{n}.layer.{place}"
                names[stack, "layers", n, f"{part}_norm", "scale"] = (f"{there}.layer_norm.weight", False)
                for ours, theirs in kernels.items():
                    names[stack, "layers", n, part, ours] = (f"{there}.{module}.{theirs}.weight", True)
    if not config.tied:
        names[("head",)] = (HEAD, True)
    return names


def read_t5(folder_or_name: str | os.PathLike[str]) -> tuple[T5Config, dict[str, np.ndarray]]:
    """The shape and the weights of a stored T5, v1.0 or v1.1 (as are Flan-T5's).

    Args:
      folder_or_name: a folder with config.json and weights (see `read_tensors`), or a name on the hub; HF_HUB_OFFLINE=1
        looks only into the local cache.
    Returns:
      The config, and arrays by Hugging Face's names, in its layouts and in their stored dtype; copies of the table are
      left out, and the head too where it is tied.
    Raises:
      ValueError: there is no such folder or name, a file is missing or damaged, or it is another kind of model, as is
        an encoder with a table of its own.
    """
    folder = folder_of(folder_or_name, "T5")
    values = read_config(folder)
    tied = _check_kind(values, folder)
    flat = read_tensors(folder)
    flat.pop(UNUSED, None)
    copies = [name for name in ALIASES if name in flat]
    if copies and TABLE not in flat:
        flat[TABLE] = flat[copies[0]]
    for name in copies:
        if not np.array_equal(flat.pop(name), flat[TABLE]):
            raise ValueError(
                f"{name} of {folder} differs from {TABLE}, as in a jaxrec model whose encoder projects new tokens, "
                "exported; jaxrec.export.model_folder.read reads such a folder, and T5 has one table"
            )
    table, head = flat.get(TABLE), flat.get(HEAD)
    own_head = head is not None and (table is None or not np.array_equal(head, table))
    if tied and own_head:
        raise ValueError(
            f"{folder} scales its hidden states and has a head of its own; T5 v1.0 and v1.1 do one of the two"
        )
    if tied:
        flat.pop(HEAD, None)
    elif head is None and table is not None:
        flat[HEAD] = table
    config = _config(values, tied=tied)
    if table is not None and len(table) != config.vocab:
        raise ValueError(f"{folder}: {TABLE} has {len(table)} rows, config.json's vocab_size is {config.vocab}")
    return config, flat


def t5_config_json(config: T5Config, tokens: Mapping[str, int | None] | None = None) -> dict[str, Any]:
    """What config.json says of a T5 in float32, from which transformers 5 makes a T5ForConditionalGeneration.

    Of `tokens` nothing is said: padding is 0 and the end of text 1 in every T5.
    """
    del tokens
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "feed_forward_proj": config.activation,
        "dense_act_fn": ACTIVATIONS[config.activation],
        "is_gated_act": config.activation == "gated-gelu",
        # transformers 4 takes tie_word_embeddings for v1.0, transformers 5 ties what is equal and reads the other.
        "tie_word_embeddings": config.tied,
        "scale_decoder_outputs": config.tied,
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "use_cache": True,
        "dtype": "float32",
    }


def to_hf(model: T5) -> dict[str, np.ndarray]:
    """The model's weights by Hugging Face's names and in its layouts, contiguous f32, ready for safetensors.

    An OOV projection of scope "shared" is added into the table, which is the same model. That of scope "encoder" is
    added into a table of the encoder's own, which transformers 5 loads as it is (earlier ones tie it).
    """
    params = dict(nnx.to_flat_state(nnx.state(model, nnx.Param)))
    flat = {
        name: np.ascontiguousarray(np.asarray(params[path][...]).T if transposed else np.asarray(params[path][...]))
        for path, (name, transposed) in tensor_names(model.config).items()
    }
    every = jnp.arange(model.config.vocab)[None]
    flat[TABLE] = np.array(model.embedding(every, encoder=False)[0])
    if model.embedding.scope == "encoder":
        flat["decoder.embed_tokens.weight"] = flat[TABLE]
        flat["encoder.embed_tokens.weight"] = np.array(model.embedding(every, encoder=True)[0])
    return flat


def _check_kind(values: dict[str, Any], folder: pathlib.Path) -> bool:
    """Whether config.json is of a T5 v1.0, tied and scaled, rather than v1.1; an error where it is of neither."""
    kind, activation = values.get("model_type"), values.get("feed_forward_proj", "relu")
    if kind != "t5" or activation not in FEED_FORWARD:
        raise ValueError(
            f"{folder}/config.json has model_type={kind!r} and feed_forward_proj={activation!r}; "
            f"wanted 't5' and one of {', '.join(FEED_FORWARD)}"
        )
    # These two follow from feed_forward_proj, and transformers lets what is stored win.
    wanted = {"dense_act_fn": ACTIVATIONS[activation], "is_gated_act": activation == "gated-gelu"}
    for name, value in wanted.items():
        if values.get(name, value) != value:
            raise ValueError(
                f"{folder}/config.json has feed_forward_proj={activation!r} with {name}={values[name]!r}; "
                f"T5 v1.0 and v1.1 have {value!r}"
            )
    # transformers 5 always writes tie_word_embeddings true and keeps what it used to mean in scale_decoder_outputs.
    return bool(values.get("scale_decoder_outputs", values.get("tie_word_embeddings", True)))


def _config(values: dict[str, Any], *, tied: bool) -> T5Config:
    fields = {ours: values[theirs] for ours, theirs in FIELDS.items() if values.get(theirs) is not None}
    fields.setdefault("decoder_layers", fields.get("encoder_layers", T5Config().encoder_layers))
    return T5Config(activation=values.get("feed_forward_proj", "relu"), tied=tied, **fields)


def _build(
    shape: T5Config,
    settings: ModelConfig,
    anchors: np.ndarray | jax.Array | None,
    first_oov: int,
    start: int,
    *,
    rngs: nnx.Rngs,
) -> T5:
    del start  # always 0
    return T5(shape, settings.oov, anchors, first_oov, rngs=rngs)


def _sharding(fsdp: bool) -> tuple[tuple[str, PartitionSpec], ...]:
    """Tables, which hold most of a small model's parameters, are cut over `model`."""
    del fsdp
    return ((r"embedding/table$", PartitionSpec("model", None)), (r"(^|/)head$", PartitionSpec(None, "model")))


BACKBONE = Backbone(
    label="T5",
    model=T5,
    shape=lambda settings: settings.t5,
    build=_build,
    depth=lambda shape: f"{shape.encoder_layers}+{shape.decoder_layers}",
    decoder_only=False,
    sharding=_sharding,
    hugging_face=HuggingFace(
        transformers_class="T5ForConditionalGeneration",
        table=TABLE,
        head=HEAD,
        read=read_t5,
        tensor_names=tensor_names,
        to_hf=to_hf,
        exported_shape=lambda model: model.config,
        config_json=t5_config_json,
        input_table=lambda model: model.embedding.whole(),
    ),
)
