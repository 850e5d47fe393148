"""Converts T5 weights and config from and to Hugging Face's format, without PyTorch."""

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
"""Names in config.json of our fields; both have the same defaults."""
ACTIVATIONS = {"relu": "relu", "gated-gelu": "gelu_new"}
"""dense_act_fn of config.json, by feed_forward_proj."""
ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
TABLE = "shared.weight"
HEAD = "lm_head.weight"
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
"""Stored by old T5 models and never used."""


def tensor_names(config: T5Config) -> dict[tuple[str | int, ...], tuple[str, bool]]:
    """For the path of each parameter, its Hugging Face name and whether it is stored transposed."""
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
            for position, (part, (module, kernels)) in enumerate(parts.items()):
                prefix = f"{stack}.block.{n}.layer.{position}"
                names[stack, "layers", n, f"{part}_norm", "scale"] = (f"{prefix}.layer_norm.weight", False)
                for ours, theirs in kernels.items():
                    names[stack, "layers", n, part, ours] = (f"{prefix}.{module}.{theirs}.weight", True)
    if not config.tied:
        names[("head",)] = (HEAD, True)
    return names


def read_t5(folder_or_name: str | os.PathLike[str]) -> tuple[T5Config, dict[str, np.ndarray]]:
    """Sizes and weights of a stored T5, v1.0 or v1.1 (Flan-T5 included).

    Args:
      folder_or_name: a folder with config.json and weights (see `read_tensors`), or a name on the hub; HF_HUB_OFFLINE=1
        uses only the local cache.
    Returns:
      The sizes, and arrays by Hugging Face's names, in its layouts and in their stored dtype; without copies of the
      table, and without the head where it is tied.
    Raises:
      ValueError: there is no such folder or name, a file is missing or damaged, it is another kind of model, encoder or
        decoder has its own embedding table, a tied model has its own head, or the table's rows are not vocab_size.
    """
    folder = folder_of(folder_or_name, "T5")
    values = read_config(folder)
    tied = _check_kind(values, folder)
    flat = read_tensors(folder)
    flat.pop(UNUSED, None)
    aliases = [name for name in ALIASES if name in flat]
    if aliases and TABLE not in flat:
        flat[TABLE] = flat[aliases[0]]
    for name in aliases:
        if not np.array_equal(flat.pop(name), flat[TABLE]):
            raise ValueError(
                f"{name} of {folder} differs from {TABLE}, as in the export of a jaxrec model with OOV scope "
                "'encoder'; read such a folder with jaxrec.export.model_folder.read"
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
    """The config.json of a T5 in float32, from which transformers 5 builds a T5ForConditionalGeneration.

    `tokens` is ignored: every T5 has padding 0 and end of text 1.
    """
    del tokens
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "feed_forward_proj": config.activation,
        "dense_act_fn": ACTIVATIONS[config.activation],
        "is_gated_act": config.activation == "gated-gelu",
        # transformers 4 reads tie_word_embeddings as v1.0 or not; transformers 5 ties equal tensors and reads the next.
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
    """All weights by Hugging Face's names and in its layouts, contiguous f32, with the OOV projection merged.

    With scope "shared" it is added to the shared table. With scope "encoder" the encoder gets an embedding table of its
    own, which transformers 5 loads as such (earlier versions tie it to the decoder's).
    """
    params = dict(nnx.to_flat_state(nnx.state(model, nnx.Param)))
    flat = {
        name: np.ascontiguousarray(np.asarray(params[path][...]).T if transposed else np.asarray(params[path][...]))
        for path, (name, transposed) in tensor_names(model.config).items()
    }
    all_tokens = jnp.arange(model.config.vocab)[None]
    flat[TABLE] = np.array(model.embedding(all_tokens, encoder=False)[0])
    if model.embedding.scope == "encoder":
        flat["decoder.embed_tokens.weight"] = flat[TABLE]
        flat["encoder.embed_tokens.weight"] = np.array(model.embedding(all_tokens, encoder=True)[0])
    return flat


def _check_kind(values: dict[str, Any], folder: pathlib.Path) -> bool:
    """Whether config.json describes T5 v1.0 (tied and scaled) rather than v1.1.

    Raises:
      ValueError: it describes neither.
    """
    kind, activation = values.get("model_type"), values.get("feed_forward_proj", "relu")
    if kind != "t5" or activation not in FEED_FORWARD:
        raise ValueError(
            f"{folder}/config.json has model_type={kind!r} and feed_forward_proj={activation!r}; "
            f"wanted 't5' and one of {', '.join(FEED_FORWARD)}"
        )
    # They follow from feed_forward_proj, but transformers gives the stored values precedence.
    derived = {"dense_act_fn": ACTIVATIONS[activation], "is_gated_act": activation == "gated-gelu"}
    for name, value in derived.items():
        if values.get(name, value) != value:
            raise ValueError(
                f"{folder}/config.json has feed_forward_proj={activation!r} with {name}={values[name]!r}; "
                f"T5 v1.0 and v1.1 have {value!r}"
            )
    # transformers 5 always writes tie_word_embeddings=true; its former meaning is in scale_decoder_outputs.
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
    """Shards embedding table and head over `model`; they hold most parameters of a small T5."""
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
