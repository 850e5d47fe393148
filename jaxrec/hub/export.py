"""A trained model as a folder that Hugging Face loads unchanged, and that folder back as the same model, bit by bit."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from safetensors.numpy import load_file, save_file

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig, T5Config, from_dict
from jaxrec.hub import llama, t5
from jaxrec.hub.files import file_in, read_tensors, write_tensors
from jaxrec.models.llama import Llama
from jaxrec.models.retriever import Retriever
from jaxrec.models.t5 import T5
from jaxrec.tokenizers.vocabulary import Vocabulary

FORMAT = 1
ABOUT = "jaxrec.json"
EXTRAS = "jaxrec.safetensors"
SCRIPT = "recommend.py"
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
Backbone = T5 | Llama


def begin(out: str | os.PathLike[str]) -> pathlib.Path:
    """An empty folder beside `out`, in which an export is made before it takes that name.

    Raises:
      ValueError: `out` is there already, and is not an empty folder.
    """
    out = pathlib.Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already and not empty; name another folder, or delete it")
    part = out.with_name(out.name + ".part")
    if part.is_dir():  # of a call that was stopped
        shutil.rmtree(part)
    part.mkdir(parents=True)
    return part


def finish(part: pathlib.Path, out: str | os.PathLike[str]) -> pathlib.Path:
    """Gives a folder of `begin` its name."""
    out = pathlib.Path(out)
    for file in part.rglob("*.safetensors"):  # safetensors hides what it writes from everybody else
        file.chmod((part / ABOUT).stat().st_mode)
    if out.is_dir():
        out.rmdir()
    return part.rename(out)


def backbone_of(model: Backbone | Retriever) -> Backbone:
    """The language model in a model."""
    return model.backbone if isinstance(model, Retriever) else model


def describe(model: Backbone | Retriever, vocabulary: Vocabulary, dtype: str) -> dict[str, Any]:
    """What jaxrec.json says of the model itself: enough for `read` to build it."""
    backbone = backbone_of(model)
    embedding = backbone.embedding
    return {
        "format": FORMAT,
        "backbone": "t5" if isinstance(backbone, T5) else "llama",
        "dtype": dtype,
        "transformers": 5,
        "vocabulary": {
            "size": vocabulary.size,
            "first_new": vocabulary.first_oov,
            "new": len(vocabulary.new_tokens),
            "start": backbone.start,
        },
        "shape": dataclasses.asdict(backbone.config),
        "oov": {"scope": embedding.scope, "alpha": embedding.alpha},
    }


def write_model(
    folder: pathlib.Path,
    model: Backbone | Retriever,
    vocabulary: Vocabulary,
    generation: Mapping[str, Any],
    *,
    dtype: Literal["float32", "bfloat16"],
    shard_bytes: int,
) -> None:
    """Writes weights, config.json, generation_config.json, tokenizer, and what else the same model needs.

    Args:
      folder: of `begin`.
      model: the trained model; LoRA is merged.
      vocabulary: its text and new tokens.
      generation: what generation_config.json says.
      dtype: of the stored weights; the OOV kernel and the projection stay float32.
      shard_bytes: as `write_tensors`.
    """
    backbone = backbone_of(model)
    if isinstance(backbone, T5):
        flat, config = t5.to_hf(backbone), t5.t5_config_json(backbone.config)
    else:
        flat, config = llama.to_hf(backbone), llama.llama_config_json(llama.exported_config(backbone))
    write_tensors(folder, {name: _cast(value, dtype) for name, value in flat.items()}, shard_bytes)
    write_json(folder / "config.json", config | {"dtype": dtype})
    write_json(folder / "generation_config.json", generation)
    vocabulary.save(folder)
    extras = _extras(backbone, dtype)
    if extras:
        save_file(extras, folder / EXTRAS)
    if isinstance(model, Retriever):
        save_file(projection_of(model), folder / "projection.safetensors", metadata={"format": "pt"})
    shutil.copyfile(pathlib.Path(__file__).with_name("standalone.py"), folder / SCRIPT)


def write_items(folder: pathlib.Path, vectors: np.ndarray) -> None:
    """Writes the vectors that answers are searched among, f32[I,F], to items.safetensors."""
    items = np.ascontiguousarray(vectors, np.float32)
    save_file({"items": items}, folder / "items.safetensors", metadata={"format": "pt"})


def write_json(file: pathlib.Path, values: Any) -> None:
    """Writes JSON that people can read."""
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_samples(folder: pathlib.Path, samples: Sequence[Mapping[str, Any]], k: int, tolerance: float) -> None:
    """Writes samples.json, a line a user: lists of k items, to be found again within `tolerance`."""
    lines = ",\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples)
    text = f'{{"k": {k}, "tolerance": {tolerance}, "samples": [\n{lines}\n]}}\n'
    (folder / "samples.json").write_text(text, encoding="utf-8")


def write_tsv(file: pathlib.Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes columns with their names in the first line; tabs, line ends and backslashes are escaped."""
    escapes = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns), *("\t".join(str(value).translate(escapes) for value in row) for row in rows)]
    file.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))


def projection_of(model: Retriever) -> dict[str, np.ndarray]:
    """The projection as PyTorch's Linear layers hold it: first.weight f32[out,in], first.bias f32[out], ..."""
    flat = {}
    for name in ("first", "second", "third"):
        flat[f"{name}.weight"] = np.ascontiguousarray(np.asarray(getattr(model.project, name)[...]).T)
        flat[f"{name}.bias"] = np.asarray(getattr(model.project, f"{name}_bias")[...])
    return flat


def read(folder: str | os.PathLike[str], compute_dtype: Literal["float32", "bfloat16"] | None = None) -> Backbone:
    """The language model of an exported folder; a retriever's backbone, and a LoRA model's merged weights.

    Args:
      folder: what `launch.export` made.
      compute_dtype: of matrix products; default as in training.
    Returns:
      A model whose parameters are, bit for bit, those exported (rounded, where they were exported as bfloat16).
    Raises:
      ValueError: the folder is no export, of another version, holds an adapter alone, or its tensors are not those of
        the model that it describes.
    """
    folder = pathlib.Path(folder)
    about = json.loads(file_in(folder, ABOUT).read_text(encoding="utf-8"))
    if about.get("format") != FORMAT:
        raise ValueError(f"{folder / ABOUT} has format {about.get('format')!r}, this version reads {FORMAT}")
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"{folder} holds an adapter alone; export the run without --adapter to read it")
    flat = {name: value.astype(np.float32) for name, value in read_tensors(folder).items()}
    extras = {} if about["oov"]["scope"] == "none" else load_file(file_in(folder, EXTRAS))
    extras = {name: value.astype(np.float32) for name, value in extras.items()}
    shape = from_dict(T5Config if about["backbone"] == "t5" else LlamaConfig, about["shape"])
    shape = dataclasses.replace(shape, compute_dtype=compute_dtype or shape.compute_dtype)
    table, head = _tables(shape)
    first, rows = about["vocabulary"]["first_new"], extras.get("rows")
    if rows is not None:
        flat[table] = flat[table].copy()
        flat[table][first : first + len(rows)] = rows
    if shape.tied and head in flat:  # written because the input's table differs
        shape = dataclasses.replace(shape, tied=np.array_equal(flat[head], flat[table]))
    oov, anchors = OovConfig(**about["oov"]), extras.get("anchors")
    if isinstance(shape, T5Config):
        abstract = nnx.eval_shape(lambda: T5(shape, oov, anchors, first, rngs=nnx.Rngs(0)))
    else:
        start = about["vocabulary"]["start"]
        abstract = nnx.eval_shape(lambda: Llama(shape, oov, LoraConfig(), anchors, first, start, rngs=nnx.Rngs(0)))
    return _filled(abstract, _names(shape), flat, extras, folder)


def push(folder: pathlib.Path, name: str) -> str:
    """Uploads an exported folder to the Hugging Face hub, into a private model where there is none; its address.

    Raises:
      ValueError: nobody is logged in, the hub can't be reached, or it refuses the name.
    """
    api = HfApi()
    try:
        address = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Exported by jaxrec")
    except LocalTokenNotFoundError as error:
        raise ValueError(f"nobody is logged in to the hub; run `hf auth login`, then export again ({error})") from error
    except (HfHubHTTPError, HFValidationError) as error:
        code = getattr(getattr(error, "response", None), "status_code", None)
        advice = "log in with `hf auth login`" if code == 401 else "look at the name and at your rights"
        raise ValueError(f"the hub refused {name!r}; {advice}. {folder} is complete ({error})") from error
    except OSError as error:  # offline, or no connection
        raise ValueError(
            f"the hub can't be reached; {folder} is complete and can be uploaded later ({error})"
        ) from error
    return str(address)


def _cast(value: np.ndarray, dtype: str) -> np.ndarray:
    return value.astype(DTYPES[dtype]) if np.issubdtype(value.dtype, np.floating) else value


def _extras(backbone: Backbone, dtype: str) -> dict[str, np.ndarray]:
    """What of the embedding no tensor of Hugging Face holds; nothing where there is no OOV projection.

    Returns:
      kernel f32[F,D], anchors f32[M,F], and rows [M,D], the new tokens' before their anchors were added in.
    """
    embedding = backbone.embedding
    if embedding.scope == "none":
        return {}
    kernel, anchors = (np.ascontiguousarray(x[...]) for x in (embedding.kernel, embedding.anchors))
    table = np.asarray(embedding.whole() if isinstance(backbone, T5) else llama.input_table(backbone))
    rows = table[embedding.first_oov : embedding.first_oov + len(anchors)]
    return {"kernel": kernel, "anchors": anchors, "rows": np.ascontiguousarray(_cast(rows, dtype))}


def _tables(shape: T5Config | LlamaConfig) -> tuple[str, str]:
    """Hugging Face's names of the input's table and of the head."""
    return (t5.TABLE if isinstance(shape, T5Config) else llama.TABLE), t5.HEAD


def _names(shape: T5Config | LlamaConfig) -> Mapping[Any, tuple[str, bool]]:
    if isinstance(shape, T5Config):
        return t5.tensor_names(shape)
    return llama.tensor_names(shape)


def _filled(
    abstract: Backbone,
    names: Mapping[Any, tuple[str, bool]],
    flat: Mapping[str, np.ndarray],
    extras: Mapping[str, np.ndarray],
    folder: pathlib.Path,
) -> Backbone:
    """A model of shapes with arrays in it; what nothing names is an error."""
    graph, state = nnx.split(abstract)
    filled = []
    for path, variable in nnx.to_flat_state(state):
        name, transposed = names.get(path, (str(path[-1]), False))
        source = flat if path in names else extras
        if name not in source:
            raise ValueError(f"{folder} has no {name}, which the model that {ABOUT} describes wants; export it again")
        value, wanted = source[name], variable.get_value().shape
        if value.shape != (wanted[::-1] if transposed else wanted):
            raise ValueError(
                f"{name} of {folder} is {value.shape}, which is not what {ABOUT} describes; export it again"
            )
        value = value.T if transposed else value
        filled.append((path, variable.replace(jnp.asarray(value))))
    return nnx.merge(graph, nnx.from_flat_state(filled))
