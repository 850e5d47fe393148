"""A small file must not make long errors, much work or more memory than it has bytes."""

import pathlib
import time
import zipfile

import numpy as np
import pytest

from jaxrec.hub.pickled import read_pickled

FLOATS = b"ctorch\nFloatStorage\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
PLACE = b"(X\x07\x00\x00\x00storage" + FLOATS + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03tQ"


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def nested(depth: int = 60, width: int = 3) -> bytes:
    """A tuple of tuples that are all the same one: width ** depth values, were they written out."""
    made = b")q\x00"
    for _ in range(depth):
        made += b"(" + b"h\x00" * width + b"tq\x00"
    return made


def archive(file: pathlib.Path, pickled: bytes) -> pathlib.Path:
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", b"\x80\x02" + pickled)
        out.writestr("archive/data/0", np.arange(3, dtype=np.float32).tobytes())
    return file


NESTED = nested()
PICKLES = {
    "storage": NESTED + b"Q.",
    "parts of a storage": NESTED + b"(" + text("storage") + FLOATS + text("0") + text("cpu") + b"h\x00tQ.",
    "shape": NESTED + REBUILD + b"(" + PLACE + b"K\x00h\x00h\x00\x89NtR.",
    "offset": NESTED + REBUILD + b"(" + PLACE + b"h\x00K\x03\x85K\x01\x85\x89NtR.",
    "name": NESTED + b"h\x00\x93.",
    "key": b"(" + text("storage") + FLOATS + text("9" * 10**6) + text("cpu") + b"K\x03tQ.",
    "unknown": b"c" + b"a" * 10**6 + b"\nb\n.",
    "name of a value": b"}" + text("n" * 10**6) + b"K\x01s.",
    "many axes": REBUILD + b"(" + PLACE + b"K\x00(" + (b"\x8a\xf8" + b"\x7f" * 248) * 4000 + b"tq\x01h\x01\x89NtR.",
}


@pytest.mark.parametrize("kind", PICKLES)
def test_errors_are_short_and_soon(kind: str, tmp_path: pathlib.Path) -> None:
    file = archive(tmp_path / "pytorch_model.bin", PICKLES[kind])
    began = time.process_time()
    with pytest.raises(ValueError, match=r"pytorch_model\.bin") as caught:
        read_pickled(file)
    assert time.process_time() - began < 5
    assert len(str(caught.value)) < 1000


def test_members_that_share_their_bytes_are_not_read_again_and_again(tmp_path: pathlib.Path) -> None:
    file, keys, size = tmp_path / "pytorch_model.bin", 50, 40_000
    tensors = b"".join(
        text(f"t{n}") + REBUILD + b"((" + text("storage") + FLOATS + text(str(n)) + text("cpu")
        + b"J" + (size // 4).to_bytes(4, "little") + b"tQK\x00K\x03\x85K\x01\x85\x89NtRs"
        for n in range(keys)
    )  # fmt: skip
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", b"\x80\x02}" + tensors + b".")
        out.writestr("archive/data/0", bytes(size))
        first = out.getinfo("archive/data/0")
        for n in range(1, keys):  # one local header of zip, and many entries of the directory that mean it
            entry = zipfile.ZipInfo(f"archive/data/{n}")
            entry.header_offset, entry.CRC = first.header_offset, first.CRC
            entry.file_size = entry.compress_size = size
            out.filelist.append(entry)
            out.NameToInfo[entry.filename] = entry
    with pytest.raises(ValueError, match=r"lie in one another|damaged"):
        read_pickled(file)


def test_a_pickle_far_larger_than_tensors_need(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxrec.hub.pickled.LARGEST_PICKLE", 100)
    file = archive(tmp_path / "pytorch_model.bin", b"0" * 99 + b"}.")
    with pytest.raises(ValueError, match=r"has a data\.pkl of more than 100 bytes"):
        read_pickled(file)
