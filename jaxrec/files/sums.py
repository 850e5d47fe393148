"""Check sums of the files that a folder keeps, in a manifest beside them that is written last."""

from __future__ import annotations

import contextlib
import json
import pathlib
import zlib
from collections.abc import Iterable, Iterator

from jaxrec.files.whole import whole_file, whole_folder, write_whole
from jaxrec.types import DataError

SUMS_FILE = "sums.json"
"""The manifest: the size and CRC-32 of each file by its path from the manifest's folder."""
BLOCK = 1 << 20

Sums = dict[str, list[int]]


def sum_of(file: pathlib.Path) -> list[int]:
    """Size and CRC-32 of a file."""
    size, crc = 0, 0
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def read_sums(folder: pathlib.Path) -> Sums | None:
    """A folder's manifest; None where it has none, as in runs of older versions.

    Raises:
      DataError: the manifest itself is damaged.
    """
    file = folder / SUMS_FILE
    try:
        content = json.loads(file.read_bytes())
        sums = {str(name): [int(size), int(crc)] for name, (size, crc) in content["files"].items()}
        if content["crc32"] != _crc(sums):
            raise ValueError("its own check sum differs")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file}, which holds the check sums of the files beside it, is damaged ({str(error)[:80]}); without it "
            "they are not checked: delete it if you trust them"
        ) from error
    return sums


def write_sums(folder: pathlib.Path) -> None:
    """Writes the manifest of all files of a finished folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS_FILE)
    _write(folder, {file.relative_to(folder).as_posix(): sum_of(file) for file in files})


def check_sums(folder: pathlib.Path, parts: Iterable[str] = ("",)) -> bool:
    """Compares the files of a folder with its manifest.

    Args:
      folder: of the manifest.
      parts: starts of the paths that are to be compared; all by default.
    Returns:
      Whether there is a manifest.
    Raises:
      DataError: a file is missing or differs, or the manifest is damaged; the message names the file.
    """
    sums = read_sums(folder)
    for name, expected in (sums or {}).items():
        if not name.startswith(tuple(parts)):
            continue
        file = folder / name
        try:
            problem = None if sum_of(file) == expected else "is damaged: it is not what was written"
        except OSError as error:
            problem = f"can't be read ({error.strerror})"
        if problem:
            raise DataError(f"{file} {problem} (check sum in {SUMS_FILE})")
    return sums is not None


@contextlib.contextmanager
def kept_file(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """As `whole_file`; the folder's manifest has the file's check sum afterwards.

    The old sum is removed before the file changes, so that a process that is killed leaves no sum of another content.
    """
    with whole_file(file) as part:
        yield part
        total = sum_of(part)
        sums = read_sums(file.parent) or {}
        if sums.pop(file.name, None) not in (None, total):
            _write(file.parent, sums)
    sums = read_sums(file.parent) or {}
    if sums.get(file.name) != total:
        _write(file.parent, sums | {file.name: total})


def write_kept(file: pathlib.Path, content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes as `kept_file` does."""
    with kept_file(file) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def kept_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """As `whole_folder`, with a manifest of all files."""
    with whole_folder(folder) as part:
        yield part
        write_sums(part)


def _write(folder: pathlib.Path, sums: Sums) -> None:
    content = {"files": dict(sorted(sums.items())), "crc32": _crc(sums)}
    write_whole(folder / SUMS_FILE, json.dumps(content, indent=1) + "\n")


def _crc(sums: Sums) -> int:
    return zlib.crc32(json.dumps(sorted(sums.items())).encode())
