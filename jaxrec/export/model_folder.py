"""Writes a trained model as a folder that transformers loads, and reads it back bit by bit."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx
from safetensors.numpy import load_file, save_file

from jaxrec.config import LoraConfig, ModelConfig, OovConfig, from_dict
from jaxrec.export.adapter import write_adapter
from jaxrec.export.tables import write_json
from jaxrec.files import InUseError, read_kept
from jaxrec.files.flock import take
from jaxrec.hub.backbone import Backbone, HuggingFace
from jaxrec.hub.files import file_in, read_tensors, write_tensors
from jaxrec.hub.registry import backbone, language_model, name_of
from jaxrec.models.collaborative_tokens import CollaborativeTokens
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.members import Members
from jaxrec.models.retriever import Retriever
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Vectors

FORMAT = 1
ABOUT = "jaxrec.json"
PART = ".jaxrec-part"
"""Suffix of the temporary folder of an unfinished export."""
EXTRAS = "jaxrec.safetensors"
SCRIPT, VECTORS_SCRIPT = "recommend.py", "vector_tokens.py"
_locks: dict[pathlib.Path, int] = {}
"""Descriptors of the temporary folders that this process fills."""
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def begin(out: str | os.PathLike[str]) -> pathlib.Path:
    """Creates an empty temporary folder beside `out`, which `finish` renames and `abandon` deletes.

    The folder is locked until then, by the system, so that a killed process leaves no lock behind.

    Raises:
      InUseError: another export into `out` is going on.
      ValueError: `out` exists and is not an empty folder, or the temporary name is that of a file or link.
    """
    out = pathlib.Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already and not empty; name another folder, or delete it")
    part = out.with_name(out.name + PART)
    if part.is_symlink() or (part.exists() and not part.is_dir()):
        raise ValueError(f"{part} is in the way, and is no folder that an export was made in; move it")
    part.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    if not take(descriptor):
        os.close(descriptor)
        raise InUseError(f"{out} is being written by another export; wait for it, or name another folder")
    _locks[part] = descriptor
    for path in part.iterdir():  # left by a killed export
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return part


def abandon(part: pathlib.Path) -> None:
    """Deletes a temporary folder of `begin`."""
    shutil.rmtree(part, ignore_errors=True)
    os.close(_locks.pop(part))


def finish(part: pathlib.Path, out: str | os.PathLike[str]) -> pathlib.Path:
    """Renames a temporary folder of `begin` to `out`; returns the path."""
    out = pathlib.Path(out)
    for file in part.rglob("*.safetensors"):  # safetensors makes its files unreadable for others
        file.chmod((part / ABOUT).stat().st_mode)
    if out.is_dir():
        out.rmdir()
    renamed = part.rename(out)
    os.close(_locks.pop(part))
    return renamed


def exportable(model: LanguageModel | Retriever) -> tuple[LanguageModel, Backbone, HuggingFace]:
    """The language model itself or in a retriever, its backbone's record, and the record's Hugging Face format.

    Raises:
      ValueError: the backbone has no Hugging Face format, or the model has members or an item head.
    """
    inner = language_model(model)
    if isinstance(inner, Members) or inner.items is not None:
        what = "train.members above 1" if isinstance(inner, Members) else "answer both"
        raise ValueError(f"a run with {what} has no form on Hugging Face; train one with answer id and a single member")
    name = name_of(inner)
    record = backbone(name)
    if record.hugging_face is None:
        raise ValueError(f"model.backbone {name} can't be exported: its record has no form on Hugging Face")
    return inner, record, record.hugging_face


def describe(model: LanguageModel | Retriever, vocabulary: Vocabulary, dtype: str) -> dict[str, Any]:
    """The part of jaxrec.json about the model: what `read` needs to build it, and transformers to load it."""
    inner, record, form = exportable(model)
    return {
        "format": FORMAT,
        "backbone": name_of(inner),
        "decoder_only": record.decoder_only,
        "transformers_class": form.transformers_class,
        "layers": record.depth(inner.config),
        "dtype": dtype,
        "transformers": 5,
        "vocabulary": {
            "size": vocabulary.size,
            "first_new": vocabulary.first_oov,
            "new": len(vocabulary.new_tokens),
            "start": inner.start,
        },
        "shape": dataclasses.asdict(inner.config),
        "oov": _oov(inner),
        "lora": dataclasses.asdict(inner.lora) if inner.lora.rank else None,
    }


def write_model(
    folder: pathlib.Path,
    model: LanguageModel | Retriever,
    vocabulary: Vocabulary,
    generation: Mapping[str, Any],
    *,
    dtype: Literal["float32", "bfloat16"],
    shard_bytes: int,
    adapter: bool = False,
    base: str | None = None,
) -> None:
    """Writes weights, config.json, generation_config.json, tokenizer, retrieval projection and recommend.py.

    Args:
      folder: from `begin`.
      model: trained; LoRA is merged unless `adapter` is set.
      vocabulary: text tokens and new tokens.
      generation: content of generation_config.json.
      dtype: of the stored weights; the OOV kernel and the projection stay float32.
      shard_bytes: as for `write_tensors`.
      adapter: store LoRA factors, as `write_adapter` does, instead of merged weights.
      base: folder or hub name of the adapter's base model; None: random weights.
    Raises:
      ValueError: `adapter` is set for a model without LoRA, or the backbone has no Hugging Face format.
    """
    inner, _, form = exportable(model)
    tokens = {
        "bos_token_id": vocabulary.tokenizer.bos_token_id,
        "eos_token_id": vocabulary.end,
        "pad_token_id": vocabulary.tokenizer.pad_token_id,
    }
    if adapter:
        check_adaptable(model)
        write_adapter(folder, inner, form, base, shard_bytes, tokens)
    else:
        _write_merged(folder, inner, form, tokens, dtype, shard_bytes)
    write_json(folder / "generation_config.json", generation)
    vocabulary.save(folder)
    if isinstance(model, Retriever):
        save_file(projection_of(model), folder / "projection.safetensors", metadata={"format": "pt"})
    shutil.copyfile(pathlib.Path(__file__).with_name("standalone.py"), folder / SCRIPT)


def check_adaptable(model: LanguageModel | Retriever) -> None:
    """Checks that a model has LoRA factors that can be stored as an adapter.

    Raises:
      ValueError: it has no LoRA, or its backbone has no adapter format.
    """
    inner, _, form = exportable(model)
    if not inner.lora.rank or form.peft_adapter is None:
        raise ValueError("this model has no LoRA factors to store as an adapter; leave --adapter out")


def _write_merged(
    folder: pathlib.Path,
    model: LanguageModel,
    form: HuggingFace,
    tokens: dict[str, int | None],
    dtype: str,
    shard_bytes: int,
) -> None:
    flat, config = form.to_hf(model), form.config_json(form.exported_shape(model), tokens)
    # Each array is released once it is cast, so that a large model is not held twice.
    write_tensors(folder, {name: _cast(flat.pop(name), dtype) for name in list(flat)}, shard_bytes)
    write_json(folder / "config.json", config | {"dtype": dtype})
    extras = _extras(model, form, dtype)
    if extras:
        save_file(extras, folder / EXTRAS)


def write_items(folder: pathlib.Path, vectors: np.ndarray) -> None:
    """Writes the item vectors of retrieval, f32[I,F], to items.safetensors."""
    items = np.ascontiguousarray(vectors, np.float32)
    save_file({"items": items}, folder / "items.safetensors", metadata={"format": "pt"})


def write_vector_tokens(folder: pathlib.Path, tokens: CollaborativeTokens, vectors: Vectors) -> None:
    """Writes the embeddings of collaborative tokens of items and users, f32[I,D] and f32[U,D]; zeros without vector."""
    for name, rows in (("item", vectors.item), ("user", vectors.user)):
        embedded = np.asarray(tokens.embedded(jnp.asarray(rows, jnp.float32))) * rows.any(axis=1, keepdims=True)
        save_file({"vectors": embedded}, folder / f"{name}_vectors.safetensors", metadata={"format": "pt"})
    shutil.copyfile(pathlib.Path(__file__).with_name("standalone_vectors.py"), folder / VECTORS_SCRIPT)


def projection_of(model: Retriever) -> dict[str, np.ndarray]:
    """The projection in the layout of PyTorch's Linear layers: first.weight f32[out,in], first.bias f32[out], ..."""
    flat = {}
    for name in ("first", "second", "third"):
        flat[f"{name}.weight"] = np.ascontiguousarray(np.asarray(getattr(model.project, name)[...]).T)
        flat[f"{name}.bias"] = np.asarray(getattr(model.project, f"{name}_bias")[...])
    return flat


def read(folder: str | os.PathLike[str], compute_dtype: Literal["float32", "bfloat16"] | None = None) -> LanguageModel:
    """Reads the language model of an export: of a retriever the backbone, of a LoRA model with merged weights.

    Embeddings of collaborative tokens, which `write_vector_tokens` stores apart, are no part of it.

    Args:
      folder: written by `launch.export`.
      compute_dtype: of matrix products; None: as in training.
    Returns:
      The model, with parameters equal to the exported ones bit for bit (rounded, if exported as bfloat16).
    Raises:
      ValueError: the folder is no export, is of another format version, holds only an adapter, or its tensors do not
        match jaxrec.json.
    """
    folder = pathlib.Path(folder)
    about = read_kept(file_in(folder, ABOUT), "json", "export the run again")
    if about.get("format") != FORMAT:
        raise ValueError(f"{folder / ABOUT} has format {about.get('format')!r}, this version reads {FORMAT}")
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"{folder} holds an adapter alone; export the run without --adapter to read it")
    flat = read_tensors(folder)  # memory-mapped; `_filled` reads one by one
    extras = {} if about["oov"]["scope"] == "none" else load_file(file_in(folder, EXTRAS))
    record = backbone(about["backbone"])
    form = record.hugging_face
    assert form is not None  # else it could not have been exported
    shape = from_dict(type(record.shape(ModelConfig())), about["shape"])
    shape = dataclasses.replace(shape, compute_dtype=compute_dtype or shape.compute_dtype)
    first, rows = about["vocabulary"]["first_new"], extras.get("rows")
    if rows is not None:
        flat[form.table] = np.array(flat[form.table], np.float32)
        flat[form.table][first : first + len(rows)] = rows
    if shape.tied and form.head in flat:  # written because the input's table differs
        tied = np.array_equal(np.asarray(flat[form.head], np.float32), flat[form.table])
        shape = dataclasses.replace(shape, tied=tied)
    start, oov = about["vocabulary"]["start"], OovConfig(**about["oov"])
    abstract = _abstract(record, shape, oov, LoraConfig(), extras.get("anchors"), first, start)
    return _filled(abstract, form.tensor_names(shape), flat, extras, folder)


def in_float32(model: LanguageModel) -> LanguageModel:
    """The model with the same weights and matrix products in float32."""
    embedding, shape = model.embedding, dataclasses.replace(model.config, compute_dtype="float32")
    oov, record = from_dict(OovConfig, _oov(model)), backbone(name_of(model))
    anchors = None if embedding.scope == "none" else embedding.anchors[...]
    abstract = _abstract(record, shape, oov, model.lora, anchors, embedding.first_oov, model.start)
    return nnx.merge(nnx.graphdef(abstract), nnx.state(model))


def _oov(model: LanguageModel) -> dict[str, Any]:
    return {"scope": model.embedding.scope, "alpha": model.embedding.alpha}


def _cast(value: np.ndarray, dtype: str) -> np.ndarray:
    return value.astype(DTYPES[dtype], copy=False) if np.issubdtype(value.dtype, np.floating) else value


def _extras(model: LanguageModel, form: HuggingFace, dtype: str) -> dict[str, np.ndarray]:
    """Tensors of the OOV projection, which Hugging Face's format has no place for; none without a projection.

    Returns:
      kernel f32[F,D], anchors f32[M,F], and rows [M,D], embeddings of the new tokens before the projection is added.
    """
    embedding = model.embedding
    if embedding.scope == "none":
        return {}
    kernel, anchors = (np.ascontiguousarray(x[...]) for x in (embedding.kernel, embedding.anchors))
    table = np.asarray(form.input_table(model))
    rows = table[embedding.first_oov : embedding.first_oov + len(anchors)]
    return {"kernel": kernel, "anchors": anchors, "rows": np.ascontiguousarray(_cast(rows, dtype))}


def _abstract(
    record: Backbone, shape: Any, oov: OovConfig, lora: LoraConfig, anchors: Any, first_oov: int, start: int
) -> LanguageModel:
    """A model with abstract parameters (shapes and dtypes, no arrays)."""
    settings = ModelConfig(oov=oov, lora=lora)
    return nnx.eval_shape(lambda: record.build(shape, settings, anchors, first_oov, start, rngs=nnx.Rngs(0)))


def _filled(
    abstract: LanguageModel,
    names: Mapping[Any, tuple[str, bool]],
    flat: Mapping[str, np.ndarray],
    extras: Mapping[str, np.ndarray],
    folder: pathlib.Path,
) -> LanguageModel:
    """An abstract model filled with arrays, those named in `names` from `flat`, all others from `extras`.

    Raises:
      ValueError: an array is missing or has the wrong shape.
    """
    graph, state = nnx.split(abstract)
    filled = []
    for path, variable in nnx.to_flat_state(state):
        name, transposed = names.get(path, (str(path[-1]), False))
        source = flat if path in names else extras
        if name not in source:
            raise ValueError(f"{folder} has no {name}, which the model that {ABOUT} describes wants; export it again")
        value, shape = source[name], variable.get_value().shape
        if value.shape != (shape[::-1] if transposed else shape):
            raise ValueError(
                f"{name} of {folder} is {value.shape}, which is not what {ABOUT} describes; export it again"
            )
        value = value.T if transposed else value
        filled.append((path, variable.replace(jnp.array(value, jnp.float32))))
    return nnx.merge(graph, nnx.from_flat_state(filled))
