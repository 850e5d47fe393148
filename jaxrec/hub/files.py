"""Folders of stored models: config.json, and tensors in safetensors or PyTorch's files, whole or in shards."""

from __future__ import annotations

import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxrec.files import whole_file
from jaxrec.hub.pickled import read_pickled

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PYTORCH, PYTORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
SHARD_BYTES = 5 * 10**9
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_OURS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")


def folder_of(folder_or_name: str | os.PathLike[str], what: str) -> pathlib.Path:
    """The local folder of a stored model.

    Of a hub's model it fetches what describes it, its tokenizer and its weights, from safetensors where it has them;
    HF_HUB_OFFLINE=1 looks only into the local cache.

    Args:
      folder_or_name: a local folder, or a name on the hub.
      what: what is looked for, for the error: "T5".
    Raises:
      ValueError: there is neither.
    """
    folder = pathlib.Path(folder_or_name)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ValueError(f"{what} {str(folder_or_name)!r} is a file; give the folder that it lies in")
    try:
        folder = _fetch(folder_or_name, ["*.json", "*.model", "*.txt", "*.jinja", WHOLE])
        if not (folder / WHOLE).is_file():
            if not (folder / INDEX).is_file() and not (folder / PYTORCH_INDEX).is_file():
                return _fetch(folder_or_name, [PYTORCH])
            index = INDEX if (folder / INDEX).is_file() else PYTORCH_INDEX
            _fetch(folder_or_name, sorted(set(_weight_map(folder / index).values())))
        return folder
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError) as error:
        raise ValueError(f"{what} {str(folder_or_name)!r} is no folder here, and the hub gave none: {error}") from error


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """What config.json says.

    Raises:
      ValueError: there is none, or it is no JSON object.
    """
    return _read_json(file_in(folder, "config.json"))


def file_in(folder: pathlib.Path, name: str) -> pathlib.Path:
    """A file of a folder.

    Raises:
      ValueError: there is none, or no such folder; it says what there is.
    """
    file = folder / name
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; wanted one with {name}")
    if not file.is_file():
        names = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise ValueError(f"{folder} has no {name}; it has {names}")
    return file


def read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The stored tensors by name, each in its stored dtype.

    They come from model.safetensors, from the shards in model.safetensors.index.json, or from pytorch_model.bin or its
    shards: the first of these that there is. The arrays are not to be written to; safetensors stay on disk until read.

    Raises:
      ValueError: there are none, a file is damaged, a shard is missing, or shards and their index disagree.
    """
    if (folder / WHOLE).is_file():
        return _read_safetensors(folder / WHOLE)
    if (folder / INDEX).is_file():
        return _read_shards(folder, INDEX)
    if (folder / PYTORCH).is_file():
        return read_pickled(folder / PYTORCH)
    if (folder / PYTORCH_INDEX).is_file():
        return _read_shards(folder, PYTORCH_INDEX)
    file_in(folder, WHOLE)
    raise AssertionError("unreachable")


def write_tensors(folder: pathlib.Path, flat: Mapping[str, np.ndarray], shard_bytes: int = SHARD_BYTES) -> None:
    """Writes tensors as Hugging Face does, in place of those that the folder may have in safetensors.

    Args:
      folder: an existing folder.
      flat: arrays by name, of any memory layout, bfloat16 too.
      shard_bytes: where they are more, they go into shards of at most this (a larger tensor has a shard of its own),
        with an index beside them; else all go into model.safetensors.
    Raises:
      ValueError: shard_bytes is below 1, or there are no tensors.
    """
    if shard_bytes < 1 or not flat:
        raise ValueError(f"nothing to write: {len(flat)} tensors in shards of {shard_bytes} bytes")
    shards: list[list[str]] = [[]]
    filled = 0
    for name, value in flat.items():
        if shards[-1] and filled + value.nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += value.nbytes
    files = [WHOLE]
    if len(shards) > 1:
        files = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    for file, names in zip(files, shards, strict=True):
        # safetensors writes the bytes as they lie in memory: wrong ones, without an error, of a transposed array.
        part = {name: np.asarray(flat[name], order="C") for name in names}
        # Beside and then renamed: the tensors may be read from the very file that is replaced.
        with whole_file(folder / file) as written:
            save_file(part, written, metadata={"format": "pt"})
    # What an earlier export left would be read instead, or too.
    stale = [file for file in folder.iterdir() if _OURS.fullmatch(file.name) and file.name not in files]
    for file in [*stale, folder / INDEX]:
        file.unlink(missing_ok=True)
    if len(shards) > 1:
        total = sum(value.nbytes for value in flat.values())
        weights = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": int(total)}, "weight_map": weights}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _fetch(name: str | os.PathLike[str], files: Iterable[str]) -> pathlib.Path:
    return pathlib.Path(snapshot_download(str(name), allow_patterns=list(files), ignore_patterns=["*/*"]))


def _read_json(file: pathlib.Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds a {type(values).__name__}, not an object of JSON")
    return values


def _weight_map(file: pathlib.Path) -> dict[str, str]:
    """The shard of every tensor."""
    weights = _read_json(file).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"{file} has no weight_map that says which shard each tensor is in")
    for name, shard in weights.items():
        if not isinstance(shard, str) or pathlib.PurePath(shard).name != shard:
            raise ValueError(f"{file} puts {name} into {shard!r}; wanted the name of a file beside it")
    return weights


def _read_shards(folder: pathlib.Path, index: str) -> dict[str, np.ndarray]:
    weights = _weight_map(folder / index)
    flat: dict[str, np.ndarray] = {}
    came: dict[str, str] = {}
    missing = sorted({shard for shard in weights.values() if not (folder / shard).is_file()})
    if missing:
        raise ValueError(f"{folder / index} names shards that are not there: {', '.join(missing)}; fetch them too")
    for shard in sorted(set(weights.values())):
        part = (_read_safetensors if index == INDEX else read_pickled)(folder / shard)
        for name in part:
            if name in flat:
                raise ValueError(f"{name} is in both {came[name]} and {shard} of {folder}; which is meant?")
            came[name] = shard
        flat |= part
    for name, shard in weights.items():
        if came.get(name) != shard:
            raise ValueError(f"{folder / index} says that {name} is in {shard}, which has no such tensor")
    return flat


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Arrays that are views of the mapped file: nothing is read before it is used."""
    try:
        with safe_open(file, "numpy"):  # checks the header, and that the tensors fill the rest of the file
            pass
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or not safetensors ({error}); fetch or write it again") from error
    data = np.memmap(file, np.uint8, "r").view(np.ndarray)
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    flat = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{name} in {file} is {entry['dtype']}; wanted one of {', '.join(DTYPES)}")
        dtype, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), entry["data_offsets"]
        assert end - begin == dtype.itemsize * math.prod(entry["shape"]), "safetensors checked that"
        array = data[start + begin : start + end].view(dtype).reshape(entry["shape"])
        flat[name] = array if array.flags.aligned else array.copy()
    return flat
