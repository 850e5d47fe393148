"""Unpacks compressed data files within a limit: gzip, bzip2, xz, zstd, and zip archives of one file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

import pyarrow as pa

from jaxrec.types import DataError

MIB = 1 << 20
CHUNK = 4 * MIB
PACKED: dict[str, tuple[bytes, Callable[[io.BytesIO], BinaryIO]]] = {
    "gzip": (b"\x1f\x8b", lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))),
    "bzip2": (b"BZh", lambda file: cast(BinaryIO, bz2.BZ2File(file))),
    "xz": (b"\xfd7zXZ\x00", lambda file: cast(BinaryIO, lzma.LZMAFile(file))),  # noqa: SIM115
    "zstd": (b"\x28\xb5\x2f\xfd", lambda file: cast(BinaryIO, pa.CompressedInputStream(file, "zstd"))),
}
"""First bytes of a compressed file, and how it is opened."""
OTHER_ARCHIVES = {"7z": b"7z\xbc\xaf\x27\x1c", "rar": b"Rar!\x1a\x07", "zip (without files)": b"PK\x05\x06"}
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException, zipfile.BadZipFile, ValueError)


class CutOff(Exception):
    """A compressed file is damaged.

    Attributes:
      kind: of compression, "gzip".
      readable: its content up to the damage.
    """

    def __init__(self, kind: str, readable: bytes) -> None:
        super().__init__(kind)
        self.kind = kind
        self.readable = readable


def unpacked(path: pathlib.Path, data: bytes, limit_mib: int) -> bytes:
    """The content of a compressed file, which is recognised by its first bytes, not its name; other data as it is.

    Args:
      path: the file, for messages.
      data: its bytes.
      limit_mib: the most MiB that it may unpack to.
    Raises:
      DataError: it unpacks to more, is an archive of several files, encrypted, or of a kind that can't be unpacked.
      CutOff: it is damaged or cut off.
    """
    for kind, (magic, opened) in PACKED.items():
        if data.startswith(magic):
            content = _content(path, kind, opened, data, limit_mib)
            break
    else:
        content = _member(path, data, limit_mib) if data.startswith(b"PK\x03\x04") else data
    for kind, magic in OTHER_ARCHIVES.items():
        if content.startswith(magic):
            raise DataError(f"{path}: a {kind} archive; unpack it and give the file of events")
    if content is not data and content.startswith(tuple(magic for magic, _ in PACKED.values())):
        raise DataError(f"{path}: packed twice; unpack it once and give the result")
    if content[257:262] == b"ustar":
        raise DataError(f"{path}: a tar archive; unpack it with tar -xf and give the file of events")
    return content


def _content(
    path: pathlib.Path, kind: str, opened: Callable[[io.BytesIO], BinaryIO], packed: bytes, limit_mib: int
) -> bytes:
    """What a compressed stream holds, at most `limit_mib` MiB of it."""
    content, room = io.BytesIO(), limit_mib * MIB
    try:
        with opened(io.BytesIO(packed)) as stream:
            read = getattr(stream, "read1", stream.read)  # read1 gives what was unpacked before damage is met
            while chunk := read(CHUNK):
                if content.tell() + len(chunk) > room:
                    raise DataError(
                        f"{path}: {len(packed):,} bytes of {kind} unpack to more than {limit_mib:,} MiB, over"
                        f" {room // max(len(packed), 1):,} times as much; if that is meant, raise --data.unpack-mib"
                    )
                content.write(chunk)
    except DataError:
        raise
    except DAMAGE as error:
        raise CutOff(kind, content.getvalue()) from error
    return content.getvalue()


def _member(path: pathlib.Path, data: bytes, limit_mib: int) -> bytes:
    """The only file of a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [entry for entry in archive.infolist() if not entry.is_dir() and not _of_macos(entry.filename)]
            if len(members) != 1:
                raise DataError(
                    f"{path}: a zip archive of {len(members)} files; unpack it and give the one with the events"
                )
            if members[0].flag_bits & 1:
                raise DataError(f"{path}: an encrypted zip archive; unpack it first")
            return _content(path, "zip", lambda _: cast(BinaryIO, archive.open(members[0])), data, limit_mib)
    except (NotImplementedError, zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise DataError(f"{path}: a zip archive that can't be unpacked ({error}); unpack it first") from error


def _of_macos(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.endswith(".DS_Store")
