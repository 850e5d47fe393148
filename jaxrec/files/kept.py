"""Reads a file that a run keeps: whatever is wrong with it becomes one error that names it and says what to do."""

from __future__ import annotations

import io
import json
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, Literal, overload

import numpy as np

from jaxrec.files.sums import SUMS_FILE, read_sums
from jaxrec.types import DataError


@overload
def read_kept(file: pathlib.Path, kind: Literal["json"], remedy: str) -> dict[str, Any]: ...
@overload
def read_kept(file: pathlib.Path, kind: Literal["npz"], remedy: str) -> dict[str, np.ndarray]: ...
@overload
def read_kept(file: pathlib.Path, kind: Literal["text"], remedy: str) -> str: ...
@overload
def read_kept(file: pathlib.Path, kind: Literal["bytes"], remedy: str) -> bytes: ...
def read_kept(file: pathlib.Path, kind: Literal["json", "npz", "text", "bytes"], remedy: str) -> Any:
    """The content of a file that a run, or another result, keeps.

    It is compared with the check sum in the folder's manifest, where there is one.

    Args:
      file: the file.
      kind: "json", an object; "npz", arrays without pickles; "text", UTF-8; "bytes".
      remedy: what makes the file again, for the message: "delete it, and the train command computes it again".
    Raises:
      DataError: the file is missing, empty, cut off, damaged or of another type.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; {remedy}") from error
    except OSError as error:
        raise DataError(f"{file} can't be read ({error.strerror or error}); {remedy}") from error
    sums = read_sums(file.parent) or {}
    if file.name in sums and sums[file.name] != [len(data), zlib.crc32(data)]:
        raise DataError(
            f"{file} {'is empty' if not data else 'was damaged or edited'} since it was written (its check sum in "
            f"{SUMS_FILE} differs); {remedy}"
        )
    try:
        return PARSERS[kind](data)
    except Exception as error:  # whatever zipfile, numpy or json raise on damaged bytes
        detail = "it is empty" if not data else f"{type(error).__name__}: {str(error)[:120]}"
        raise DataError(f"{file} can't be read as {NAMES[kind]} ({detail}); {remedy}") from error


def _object(data: bytes) -> dict[str, Any]:
    content = json.loads(data.decode("utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"a JSON object was expected, not {type(content).__name__}")
    return content


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)):  # a single .npy would be read, too
        pass
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "json": _object,
    "npz": _arrays,
    "text": lambda data: data.decode("utf-8"),
    "bytes": bytes,
}
NAMES = {"json": "JSON", "npz": "arrays (.npz)", "text": "text", "bytes": "bytes"}
