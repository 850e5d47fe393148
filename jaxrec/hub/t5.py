"""T5 weights from and to Hugging Face's names and layouts, by one table of patterns, without PyTorch."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors.numpy import load_file

from jaxrec.config import T5Config
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
ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
TABLE = "shared.weight"
HEAD = "lm_head.weight"


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
    """The shape and the weights of a stored T5.

    Args:
      folder_or_name: a folder with config.json and model.safetensors (or its shards and their index), or a name on the
        hub; HF_HUB_OFFLINE=1 looks only into the local cache.
    Returns:
      The config, and f32 arrays by Hugging Face's names and in its layouts; copies of the table are left out, and the
      head too where it is tied.
    Raises:
      ValueError: there is no such folder or name, a file is missing, or it is another kind of model.
    """
    folder = _folder(folder_or_name)
    values = json.loads(_file(folder, "config.json").read_text())
    flat = _read_tensors(folder)
    copies = [flat.pop(name) for name in ALIASES if name in flat]
    if copies and TABLE not in flat:
        flat[TABLE] = copies[0]
    # transformers 5 always writes tie_word_embeddings true and keeps what it used to mean in scale_decoder_outputs.
    scaled = values.get("scale_decoder_outputs", values.get("tie_word_embeddings", True))
    table, head = flat.get(TABLE), flat.get(HEAD)
    own_head = head is not None and (table is None or not np.array_equal(head, table))
    if scaled and own_head:
        raise ValueError(
            f"{folder} scales its hidden states and has a head of its own; T5 v1.0 and v1.1 do one of the two"
        )
    if scaled:
        flat.pop(HEAD, None)
    elif head is None and table is not None:
        flat[HEAD] = table
    return _config(values, folder, tied=bool(scaled)), flat


def load_weights(model: T5, flat: dict[str, np.ndarray], *, known: int | None = None) -> None:
    """Writes stored weights into a model, in place; the model may have more tokens than were stored.

    Rows of the table (and the head) that were not stored are drawn anew as normal with each column's mean and standard
    deviation among the stored rows: new tokens begin where words live, none like another. The OOV projection is scaled
    to the loaded table.

    Args:
      model: of the stored shape, its vocabulary at least `known`.
      flat: arrays by name, from `read_t5`.
      known: how many stored rows name known tokens (T5 stores 32128 rows, of which its tokenizer uses 32100: give the
        number of the first new token). None: all.
    Raises:
      ValueError: tensors are missing, unexpected or of another shape; names all of them.
    """
    state = nnx.state(model, nnx.Param)
    params = {path: leaf for path, leaf in nnx.to_flat_state(state) if path != ("embedding", "kernel")}
    names = tensor_names(model.config)
    assert set(names) == set(params), "the table of names and the module disagree"
    rows = len(flat[TABLE]) if TABLE in flat else 0
    known = min(rows, model.config.vocab) if known is None else known
    problems = [f"unexpected {name}" for name in sorted(set(flat) - {name for name, _ in names.values()})]
    for path, (name, transposed) in names.items():
        if name not in flat:
            problems.append(f"missing {name}")
            continue
        wanted = params[path].shape[::-1] if transposed else params[path].shape
        found = flat[name].shape
        if name in (TABLE, HEAD) and len(found) == 2 and min(found[0], wanted[0]) >= known:
            wanted = (found[0], *wanted[1:])
        if found != wanted:
            problems.append(f"{name} is {found}, the model wants {wanted}")
    if problems:
        raise ValueError("weights do not fit the model: " + "; ".join(problems))
    for path, (name, transposed) in names.items():
        value = flat[name].astype(np.float32)
        if name in (TABLE, HEAD):
            noise = np.asarray(params[path][...].T if transposed else params[path][...])[known:]
            value = np.concatenate([value[:known], value[:known].mean(0) + value[:known].std(0) * noise])
        params[path][...] = jnp.asarray(value.T if transposed else value)
    model.embedding.rescale()


def to_hf(model: T5) -> dict[str, np.ndarray]:
    """The model's weights by Hugging Face's names and in its layouts, contiguous f32, ready for safetensors.

    An OOV projection of scope "shared" is added into the table, which is the same model.

    Raises:
      ValueError: the projection's scope is "encoder": Hugging Face's T5 has one table and no place for it.
    """
    if model.embedding.scope == "encoder":
        raise ValueError(
            'the OOV projection of scope "encoder" has no place in Hugging Face\'s T5, which has one embedding table; '
            'train with scope "shared" or "none" to export'
        )
    params = dict(nnx.to_flat_state(nnx.state(model, nnx.Param)))
    flat = {
        name: np.ascontiguousarray(np.asarray(params[path][...]).T if transposed else np.asarray(params[path][...]))
        for path, (name, transposed) in tensor_names(model.config).items()
    }
    flat[TABLE] = np.array(model.embedding(jnp.arange(model.config.vocab)[None], encoder=True)[0])
    return flat


def _folder(folder_or_name: str | os.PathLike[str]) -> pathlib.Path:
    folder = pathlib.Path(folder_or_name)
    if folder.is_dir():
        return folder
    try:
        return pathlib.Path(
            snapshot_download(str(folder_or_name), allow_patterns=["*.json", "*.safetensors", "*.model"])
        )
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError) as error:
        raise ValueError(f"T5 {str(folder_or_name)!r} is no folder here, and the hub gave none: {error}") from error


def _file(folder: pathlib.Path, name: str) -> pathlib.Path:
    file = folder / name
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise ValueError(f"{folder} has no {name}; it has {found}")
    return file


def _read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        files = ["model.safetensors"]
    flat: dict[str, np.ndarray] = {}
    for name in files:
        flat |= load_file(_file(folder, name))
    return {name: value.astype(np.float32) for name, value in flat.items()}


def _config(values: dict[str, Any], folder: pathlib.Path, *, tied: bool) -> T5Config:
    activation = values.get("feed_forward_proj", "relu")
    if values.get("model_type") != "t5" or activation not in FEED_FORWARD:
        raise ValueError(
            f"{folder}/config.json has model_type={values.get('model_type')!r} and feed_forward_proj={activation!r}; "
            f"wanted 't5' and one of {', '.join(FEED_FORWARD)}"
        )
    fields = {ours: values[theirs] for ours, theirs in FIELDS.items() if values.get(theirs) is not None}
    fields.setdefault("decoder_layers", fields.get("encoder_layers", T5Config().encoder_layers))
    return T5Config(activation=activation, tied=tied, **fields)
