"""Compressed files of every kind are read, archives named, and none unpacks without bound."""

import bz2
import gzip
import io
import lzma
import pathlib
import tarfile
import zipfile

import pyarrow as pa
import pytest

from jaxrec.data.source_file import open_source
from jaxrec.types import DataError

TEXT = "".join(f"user{i},item{i * 7919 % 1000}\n" for i in range(3000)).encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar(data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("events.csv")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


PACKED = {
    "gzip": gzip.compress,
    "gzip in two pieces": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
    "zip": lambda data: zipped(**{"events.csv": data, "__MACOSX/events.csv": b"-"}),
}


def write(tmp_path: pathlib.Path, data: bytes) -> pathlib.Path:
    path = tmp_path / "events"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", PACKED)
def test_read_whatever_it_is_called(kind: str, tmp_path: pathlib.Path) -> None:
    assert open_source(write(tmp_path, PACKED[kind](TEXT))).data == TEXT


@pytest.mark.parametrize("kind", PACKED)
def test_cut_off(kind: str, tmp_path: pathlib.Path) -> None:
    packed = PACKED[kind](TEXT)
    with pytest.raises(DataError, match=r"cut off or damaged|can't be unpacked"):
        open_source(write(tmp_path, packed[: len(packed) // 2]))


@pytest.mark.parametrize("kind", PACKED)
def test_bounded(kind: str, tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, PACKED[kind](b"a" * (3 << 20)))
    assert len(open_source(path, unpack_mib=3).data) == 3 << 20
    with pytest.raises(DataError, match=r"unpack to more than 2 MiB, over \d.* times as much; .* --data.unpack-mib"):
        open_source(path, unpack_mib=2)


ARCHIVES = {
    "tar": (tar(TEXT), "a tar archive; unpack it"),
    "tar.gz": (gzip.compress(tar(TEXT)), "a tar archive; unpack it"),
    "zip of two": (zipped(a=TEXT, b=TEXT), "a zip archive of 2 files; unpack it"),
    "empty zip": (zipped(), r"a zip \(without files\) archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + b"\0" * 40, "a 7z archive; unpack it"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + b"\0" * 40, "a rar archive; unpack it"),
    "zip of a gzip": (zipped(a=gzip.compress(TEXT)), "packed twice"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_named(kind: str, tmp_path: pathlib.Path) -> None:
    data, problem = ARCHIVES[kind]
    with pytest.raises(DataError, match=problem):
        open_source(write(tmp_path, data))


def test_encrypted_zip(tmp_path: pathlib.Path) -> None:
    data = bytearray(zipped(a=TEXT))
    for place in (6, data.index(b"PK\x01\x02") + 8):  # the flags of the member and of its entry in the directory
        data[place] |= 1
    with pytest.raises(DataError, match="an encrypted zip archive"):
        open_source(write(tmp_path, bytes(data)))
