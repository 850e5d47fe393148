"""Reads and writes model folders: config.json, and tensors in safetensors or PyTorch files, whole or sharded."""

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

from jaxrec.files import read_kept, whole_file
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
    """The local folder of a stored model; a model on the hub is downloaded first.

    Config, tokenizer and weights are downloaded, weights as safetensors where available. HF_HUB_OFFLINE=1 uses only the
    local cache.

    Args:
      folder_or_name: a local folder, or a model's name on the hub.
      what: kind of model, for the error message: "T5".
    Raises:
      ValueError: it is neither a folder nor a model that the hub provides.
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
    """The content of config.json.

    Raises:
      ValueError: the file is missing, or is not a JSON object.
    """
    return _read_json(file_in(folder, "config.json"))


def file_in(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The path of a file in a folder.

    Raises:
      ValueError: folder or file is missing; the message lists the files there are.
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

    Read from the first of model.safetensors, its shards, pytorch_model.bin and its shards that exists. The arrays are
    read-only; safetensors are memory-mapped.

    Raises:
      ValueError: no such file exists, a file is damaged, a shard is missing, or shards and index disagree.
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
    """Writes tensors as safetensors in Hugging Face's layout; safetensors files already in the folder are replaced.

    Args:
      folder: an existing folder.
      flat: arrays by name, in any memory layout; bfloat16 is allowed.
      shard_bytes: maximum size of a file; larger models are split into shards with an index (a tensor above the limit
        gets a shard of its own), smaller ones go into model.safetensors.
    Raises:
      ValueError: `shard_bytes` is below 1, or `flat` is empty.
    """
    if shard_bytes < 1 or not flat:
        raise ValueError(f"nothing to write: {len(flat)} tensors in shards of {shard_bytes} bytes")
    shards: list[list[str]] = [[]]
    bytes_in_shard = 0
    for name, value in flat.items():
        if shards[-1] and bytes_in_shard + value.nbytes > shard_bytes:
            shards.append([])
            bytes_in_shard = 0
        shards[-1].append(name)
        bytes_in_shard += value.nbytes
    files = [WHOLE]
    if len(shards) > 1:
        files = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    for file, names in zip(files, shards, strict=True):
        # safetensors writes the raw memory: of a transposed array, wrong values without an error.
        part = {name: np.asarray(flat[name], order="C") for name in names}
        # Atomically, as the tensors may be memory-mapped from the file that is replaced.
        with whole_file(folder / file) as temporary:
            save_file(part, temporary, metadata={"format": "pt"})
    # Readers would use the files of an earlier export instead of, or beside, the new ones.
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
    return read_kept(file, "json", "fetch or write it again")


def _weight_map(file: pathlib.Path) -> dict[str, str]:
    """The file name of each tensor's shard, from an index file.

    Raises:
      ValueError: the file is not such an index, or a name is not that of a file in the same folder.
    """
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
    shard_of: dict[str, str] = {}
    missing = sorted({shard for shard in weights.values() if not (folder / shard).is_file()})
    if missing:
        raise ValueError(f"{folder / index} names shards that are not there: {', '.join(missing)}; fetch them too")
    for shard in sorted(set(weights.values())):
        part = (_read_safetensors if index == INDEX else read_pickled)(folder / shard)
        for name in part:
            if name in flat:
                raise ValueError(f"{name} is in both {shard_of[name]} and {shard} of {folder}; fetch the model again")
            shard_of[name] = shard
        flat |= part
    for name, shard in weights.items():
        if shard_of.get(name) != shard:
            raise ValueError(f"{folder / index} says that {name} is in {shard}, which has no such tensor")
    return flat


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a file as memory-mapped arrays, which are read from disk on use."""
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
