"""Reads PyTorch's pytorch_model.bin without PyTorch and without executing any code from the pickle.

`torch.save` writes a zip archive of a pickle, data.pkl, and the bytes of every storage, data/0, data/1, ... This module
interprets the few pickle opcodes that a dictionary of tensors needs, and refuses all others.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import pickletools
import warnings
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
ORDERED, TENSOR, PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
NAMES = {ORDERED, TENSOR, PARAMETER, *(f"torch {name}" for name in STORAGES)}
"""The globals that a pickle may refer to, as module and name."""
LARGEST_PICKLE = 1 << 26
"""Maximum size of data.pkl in bytes; a tensor needs a few hundred."""
AXES = 64
"""Maximum number of axes of a numpy array."""
REPEATS = 1 << 16
"""Maximum ratio of a tensor's size to its storage (`expand` repeats values); a copy would need that much memory."""
LONGEST = 300
"""Maximum length of an error message, which may quote the file."""
CONVERT = "load it with torch.load(weights_only=True) and save it with safetensors.torch.save_file"


@dataclasses.dataclass(frozen=True)
class _Name:
    """A global that a pickle refers to; only its name, it is never imported."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    values: np.ndarray


class _Refused(ValueError):
    """An error whose message already names the file."""


def read_pickled(file: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a file written by `torch.save(state_dict, file)`, by name, each in its dtype.

    Tensors that shared memory when they were saved share it again; the arrays are read-only.

    Raises:
      ValueError: the file is damaged, in the format before PyTorch 1.6, or a TorchScript archive, or its pickle holds
        or refers to anything but a dictionary of tensors.
    """
    file = pathlib.Path(file)
    try:
        with zipfile.ZipFile(file) as archive:
            return _Reader(file, archive).read()
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        with file.open("rb") as start:
            is_zip = start.read(2) == b"PK"
        if is_zip:
            raise ValueError(f"{file} is damaged or cut short ({error}); fetch it again") from error
        raise ValueError(f"{file} is no zip archive, as PyTorch 1.6 and later write; {CONVERT}") from error


class _Reader:
    """Interprets one pickle; its values are dicts, lists, tuples, numbers, strings, arrays and the classes above."""

    def __init__(self, file: pathlib.Path, archive: zipfile.ZipFile) -> None:
        self.file, self.archive = file, archive
        self.names = set(archive.namelist())
        self.unread = file.stat().st_size
        self.storages: dict[str, _Storage] = {}

    def read(self) -> dict[str, np.ndarray]:
        pickles = [name for name in self.archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self._error("has no data.pkl, as torch.save writes")
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.names or any(n.startswith(f"{self.folder}code/") for n in self.names):
            raise self._error("is a TorchScript archive, which holds code")
        order = f"{self.folder}byteorder"
        if order in self.names and self._bytes(order) != b"little":
            raise self._error("has big-endian tensors")
        if self.archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
            raise self._error(f"has a data.pkl of more than {LARGEST_PICKLE} bytes, far more than tensors need")
        try:
            with warnings.catch_warnings():  # pickletools' own, about strange escapes in names
                warnings.simplefilter("ignore", DeprecationWarning)
                tensors = self._follow(self._bytes(pickles[0]))
        except _Refused:
            raise
        except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._error(f"has a damaged data.pkl ({type(error).__name__}: {error})") from error
        if not isinstance(tensors, dict):
            raise self._error(f"holds a {type(tensors).__name__}, not tensors by name")
        for name, value in tensors.items():
            if not isinstance(name, str) or not isinstance(value, np.ndarray):
                raise self._error(f"holds a {type(value).__name__} under {name!r}, not tensors by name")
        return tensors

    def _error(self, problem: str) -> _Refused:
        problem = problem if len(problem) <= LONGEST else f"{problem[:LONGEST]}..."
        return _Refused(f"{self.file} {problem}; if you trust it, {CONVERT}")

    def _bytes(self, name: str) -> bytes:
        # torch.save does not compress, and members do not overlap; so all members together fit into the file.
        member = self.archive.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED:
            raise self._error(f"holds {name} compressed, as torch.save never writes it")
        self.unread -= member.file_size
        if self.unread < 0:
            raise self._error("has members that lie in one another")
        return self.archive.read(name)

    def _follow(self, pickled: bytes) -> Any:
        """The value that a pickle builds. Opcodes that are not handled here raise an error."""
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            mark = marks.pop()
            items = stack[mark:]
            del stack[mark:]
            return items

        argument: Any
        for code, argument, _ in pickletools.genops(pickled):
            match code.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "MARK":
                    marks.append(len(stack))
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[code.name])
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                    stack.append(argument)
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE":
                    stack.append(tuple(since_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(code.name[-1])
                    stack[-count:] = [tuple(stack[-count:])]
                case "APPEND" | "APPENDS":
                    items = since_mark() if code.name == "APPENDS" else [stack.pop()]
                    self._expect(stack[-1], list).extend(items)
                case "SETITEM" | "SETITEMS":
                    items = since_mark() if code.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                    if any(not isinstance(key, str) for key in items[::2]):
                        raise self._error("holds a dictionary whose keys are no strings")
                    self._expect(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
                case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                    memo[len(memo) if code.name == "MEMOIZE" else argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "GLOBAL" | "STACK_GLOBAL":
                    if code.name == "STACK_GLOBAL":
                        argument = " ".join(self._expect(stack.pop(place), str) for place in (-2, -1))
                    name = argument
                    if name not in NAMES:
                        raise self._error(f"wants {name.replace(' ', '.')}, which is no part of a tensor: refused")
                    stack.append(_Name(name))
                case "BINPERSID":
                    stack.append(self._storage(stack.pop()))
                case "REDUCE":
                    arguments = self._expect(stack.pop(), tuple)
                    stack.append(self._call(self._expect(stack.pop(), _Name).name, arguments))
                case "BUILD":
                    # The _metadata of a state_dict (versions of modules), which is not needed.
                    stack.pop()
                    self._expect(stack[-1], dict)
                case _:
                    raise self._error(f"uses the pickle instruction {code.name}, which tensors don't need: refused")
        raise self._error("has a data.pkl without an end")

    def _expect(self, value: Any, kind: type) -> Any:
        if not isinstance(value, kind):
            raise self._error(f"has a data.pkl that uses a {type(value).__name__} as a {kind.__name__.strip('_')}")
        return value

    def _storage(self, identity: Any) -> _Storage:
        """The storage that ("storage", type, key, device, count) refers to."""
        kind, type_, key, _, count = self._expect(identity, tuple)
        name = self._expect(type_, _Name).name.removeprefix("torch ")
        if kind != "storage" or name not in STORAGES or not isinstance(key, str) or type(count) is not int:
            raise self._error(f"names a storage by {_abbreviated(identity)}, not as torch.save does")
        place = f"{self.folder}data/{key}"
        if key not in self.storages:
            if place not in self.names:
                raise self._error(f"has no {place}, which a tensor lies in")
            self.storages[key] = _Storage(np.frombuffer(self._bytes(place), np.uint8))
        values, dtype = self.storages[key].values, np.dtype(STORAGES[name])
        if len(values) != count * dtype.itemsize:
            raise self._error(f"has {len(values)} bytes in {place}; {count} of {dtype} were announced")
        return _Storage(values.view(dtype))

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """The result of calling a global with these arguments."""
        if name == ORDERED and not arguments:
            return {}
        if name == PARAMETER and arguments and isinstance(arguments[0], np.ndarray):
            return arguments[0]
        if name == TENSOR and len(arguments) in (6, 7):
            return self._tensor(*arguments[:4])
        raise self._error(f"calls {name.replace(' ', '.')} with {len(arguments)} arguments, not as torch.save does")

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> np.ndarray:
        values = self._expect(storage, _Storage).values
        axes = self._expect(shape, tuple), self._expect(strides, tuple)
        axes_fit = len(shape) == len(strides) <= AXES  # checked first, as the rest takes time in their lengths
        if not axes_fit or any(type(n) is not int or not 0 <= n < 1 << 63 for n in (offset, *shape, *strides)):
            layout = " with strides ".join(map(_abbreviated, axes))
            raise self._error(f"has a tensor of shape {layout} at {_abbreviated((offset,))}, which cannot be")
        last = offset + sum((n - 1) * step for n, step in zip(*axes, strict=True))
        if math.prod(shape) and last >= len(values):
            raise self._error(f"has a tensor of shape {_abbreviated(shape)} that reaches past its {len(values)} values")
        if math.prod(shape) > REPEATS * len(values):
            shown = _abbreviated(shape)
            raise self._error(f"has a tensor of shape {shown} that repeats its {len(values)} values too often")
        if not math.prod(shape):
            return np.empty(shape, values.dtype)
        size = values.itemsize
        return np.lib.stride_tricks.as_strided(
            values[offset:], shape, [step * size for step in strides], writeable=False
        )


def _abbreviated(values: tuple[Any, ...]) -> str:
    """Values from a file, for an error message: the first eight, numbers as they are, others by their type."""
    plain = [str(v) if type(v) is int and abs(v) < 1 << 63 else type(v).__name__.strip("_") for v in values[:8]]
    return f"({', '.join(plain)}{f', ... {len(values)} in all' if len(values) > 8 else ''})"
