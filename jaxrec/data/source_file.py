"""The bytes of a data file, plain or gzip, and errors that name file and line."""

from __future__ import annotations

import dataclasses
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator
from typing import NoReturn

GZIP_MAGIC = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """The unpacked bytes of a file; lines are counted from 1."""

    path: pathlib.Path
    data: bytes
    is_binary: bool = False

    def fail(self, line: int, problem: str) -> NoReturn:
        """Raises a ValueError that names file and line and shows the line's start."""
        lines = self.data.split(b"\n", line)
        start = lines[line - 1][:60].decode("utf-8", "replace").rstrip("\r") if line <= len(lines) else ""
        raise ValueError(f"{self.path}:{line}: {problem}; the line starts {start!r}")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbers and texts of the lines that are not blank."""
        for number, line in enumerate(self.data.split(b"\n"), start=1):
            if text := line.decode("utf-8").strip():
                yield number, text

    def first_line(self) -> str:
        """The first line that is not blank, stripped of spaces; tabs stay, as they may separate empty fields."""
        for line in io.BytesIO(self.data):
            if line.strip():
                return line.decode("utf-8").strip(" \r\n")
        raise ValueError(f"{self.path}: the file is empty")


def open_source(
    path: pathlib.Path, *, encodings: tuple[str, ...] = ("utf-8",), magics: tuple[bytes, ...] = ()
) -> SourceFile:
    """Reads a file; gzip is recognised by its first bytes, not its name.

    Args:
      path: the file.
      encodings: of text, tried in turn; the result is always UTF-8.
      magics: first bytes of binary formats, which are not decoded.

    Raises:
      ValueError: the file is empty, a cut-off or damaged gzip, or text in none of the encodings; the message names
        the line up to which it could be read.
    """
    data = path.read_bytes()
    if data.startswith(GZIP_MAGIC):
        data = _unpack(path, data)
    if not data.strip():
        raise ValueError(f"{path}: the file is empty")
    if data.startswith(magics):
        return SourceFile(path, data, is_binary=True)
    return SourceFile(path, _as_utf8(path, data.removeprefix(UTF8_MARK), encodings))


def _unpack(path: pathlib.Path, packed: bytes) -> bytes:
    try:
        return gzip.decompress(packed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        readable = _readable_part(packed)
        source = SourceFile(path, readable)
        line = readable.count(b"\n") + 1
        problem = f"the gzip file is cut off or damaged ({error}); fetch it again"
        try:
            source.fail(line, problem)
        except ValueError as named:
            raise named from error


def _readable_part(packed: bytes) -> bytes:
    """The content of a damaged gzip file up to the damage."""
    unpacker, parts = zlib.decompressobj(wbits=31), []
    try:
        for start in range(0, len(packed), 4096):
            parts.append(unpacker.decompress(packed[start : start + 4096]))
    except zlib.error:
        pass  # the damage itself; the caller reports it
    return b"".join(parts)


def _as_utf8(path: pathlib.Path, data: bytes, encodings: tuple[str, ...]) -> bytes:
    if data.isascii():
        return data
    problem = None
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            problem = problem or error
            continue
        return data if encoding == "utf-8" else text.encode("utf-8")
    assert problem is not None
    line = data.count(b"\n", 0, problem.start) + 1
    SourceFile(path, data).fail(
        line, f"byte 0x{data[problem.start]:02x} is not {encodings[0]}; convert the file, say with iconv -t utf-8"
    )
