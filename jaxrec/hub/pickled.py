"""PyTorch's pytorch_model.bin as arrays, without PyTorch and without running anything that a pickle may say.

`torch.save` writes a zip archive of a pickle, data.pkl, and the bytes of every storage, data/0, data/1, ... Here the
pickle's few instructions that a dictionary of tensors needs are followed one by one; any other is refused.
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
"""All that a pickle may name, as module and name."""
LARGEST_PICKLE = 1 << 26
"""Bytes of data.pkl; some hundred are enough for a tensor."""
AXES = 64
"""As many as numpy's arrays may have."""
REPEATS = 1 << 16
"""How often a tensor may show each value of its storage, as `expand` does; what is made of it has room for all."""
LONGEST = 300
"""Characters of what an error quotes: it may come from the file."""
CONVERT = "load it with torch.load(weights_only=True) and save it with safetensors.torch.save_file"


@dataclasses.dataclass(frozen=True)
class _Name:
    """Something that a pickle names; only a word, never the thing."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    values: np.ndarray


class _Refused(ValueError):
    """An error that says already which file it is about."""


def read_pickled(file: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors that `torch.save(state_dict, file)` wrote, by name and in their dtype.

    The arrays share memory where the tensors did, and are not to be written to.

    Raises:
      ValueError: the file is damaged, of PyTorch's format before 1.6, a TorchScript archive, or holds or names
        anything but tensors in a dictionary.
    """
    file = pathlib.Path(file)
    try:
        with zipfile.ZipFile(file) as archive:
            return _Reader(file, archive).read()
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        with file.open("rb") as start:
            cut = start.read(2) == b"PK"
        if cut:
            raise ValueError(f"{file} is damaged or cut short ({error}); fetch it again") from error
        raise ValueError(f"{file} is no zip archive, as PyTorch 1.6 and later write; {CONVERT}") from error


class _Reader:
    """Follows one pickle; its values are only dicts, lists, tuples, plain values, arrays and the classes above."""

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

    def _error(self, what: str) -> _Refused:
        what = what if len(what) <= LONGEST else f"{what[:LONGEST]}..."
        return _Refused(f"{self.file} {what}; if you trust it, {CONVERT}")

    def _bytes(self, name: str) -> bytes:
        # torch.save never compresses, and gives each member a place of its own: all that is read fits into the file.
        member = self.archive.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED:
            raise self._error(f"holds {name} compressed, as torch.save never writes it")
        self.unread -= member.file_size
        if self.unread < 0:
            raise self._error("has members that lie in one another")
        return self.archive.read(name)

    def _follow(self, pickled: bytes) -> Any:
        """What a pickle builds; an instruction that is not here is one that a dictionary of tensors doesn't need."""
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            place = marks.pop()
            items = stack[place:]
            del stack[place:]
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
                    stack.append(self._made(self._expect(stack.pop(), _Name).name, arguments))
                case "BUILD":
                    # A state_dict's _metadata, the modules' versions: of no use here.
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
        """The bytes that ("storage", type, key, device, count) names."""
        kind, type_, key, _, count = self._expect(identity, tuple)
        name = self._expect(type_, _Name).name.removeprefix("torch ")
        if kind != "storage" or name not in STORAGES or not isinstance(key, str) or type(count) is not int:
            raise self._error(f"names a storage by {_told(identity)}, not as torch.save does")
        place = f"{self.folder}data/{key}"
        if key not in self.storages:
            if place not in self.names:
                raise self._error(f"has no {place}, which a tensor lies in")
            self.storages[key] = _Storage(np.frombuffer(self._bytes(place), np.uint8))
        values, dtype = self.storages[key].values, np.dtype(STORAGES[name])
        if len(values) != count * dtype.itemsize:
            raise self._error(f"has {len(values)} bytes in {place}; {count} of {dtype} were announced")
        return _Storage(values.view(dtype))

    def _made(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What a name makes of its arguments."""
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
        fits = len(shape) == len(strides) <= AXES  # first: what follows takes as long as they are
        if not fits or any(type(n) is not int or not 0 <= n < 1 << 63 for n in (offset, *shape, *strides)):
            what = " with strides ".join(map(_told, axes))
            raise self._error(f"has a tensor of shape {what} at {_told((offset,))}, which cannot be")
        last = offset + sum((n - 1) * step for n, step in zip(*axes, strict=True))
        if math.prod(shape) and last >= len(values):
            raise self._error(f"has a tensor of shape {_told(shape)} that reaches past its {len(values)} values")
        if math.prod(shape) > REPEATS * len(values):
            raise self._error(f"has a tensor of shape {_told(shape)} that repeats its {len(values)} values too often")
        if not math.prod(shape):
            return np.empty(shape, values.dtype)
        size = values.itemsize
        return np.lib.stride_tricks.as_strided(
            values[offset:], shape, [step * size for step in strides], writeable=False
        )


def _told(values: tuple[Any, ...]) -> str:
    """What an error says of values that come from a file: the first few numbers, of all else only the type."""
    plain = [str(v) if type(v) is int and abs(v) < 1 << 63 else type(v).__name__.strip("_") for v in values[:8]]
    return f"({', '.join(plain)}{f', ... {len(values)} in all' if len(values) > 8 else ''})"
