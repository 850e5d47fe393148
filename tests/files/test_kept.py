"""Check sums see every change of a file that is kept, and what can't be read becomes one error that names it."""

import contextlib
import io
import json
import pathlib

import numpy as np
import pytest

from jaxrec.files import check_sums, kept_file, kept_folder, read_kept, write_kept, write_whole
from jaxrec.types import DataError

REMEDY = "train again"


def arrays(**values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **values)
    return stream.getvalue()


CONTENTS = {
    "a.json": ("json", json.dumps({"rows": [1, 2.5, "three"], "name": "Übung"}).encode()),
    "a.npz": ("npz", arrays(user=np.arange(6.0), item=np.zeros((2, 3), np.float32))),
    "a.txt": ("text", "eins\nzwei ü\n".encode()),
    "a.bin": ("bytes", bytes(range(256))),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_flipped_bit_and_every_cut_is_seen(tmp_path: pathlib.Path, name: str) -> None:
    kind, content = CONTENTS[name]
    file = tmp_path / name
    write_kept(file, content)
    read_kept(file, kind, REMEDY)
    for place in range(0, len(content), max(1, len(content) // 40)):
        for damaged in (
            content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :],
            content[:place],
        ):
            file.write_bytes(damaged)
            with pytest.raises(DataError, match=f"{name} .*; {REMEDY}"):
                read_kept(file, kind, REMEDY)
            with pytest.raises(DataError, match=f"{name} is damaged"):
                check_sums(tmp_path)
    file.write_bytes(content)
    read_kept(file, kind, REMEDY)
    assert check_sums(tmp_path)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("damage", ["missing", "a folder", "empty", "garbage", "half"])
def test_damage_is_one_error_without_a_manifest_too(tmp_path: pathlib.Path, name: str, damage: str) -> None:
    kind, content = CONTENTS[name]
    file = tmp_path / name
    if damage == "a folder":
        file.mkdir()
    elif damage != "missing":
        file.write_bytes(
            {"empty": b"", "garbage": b"\xff\xfe\x00{[" * 50, "half": content[: len(content) // 2]}[damage]
        )
    if (kind, damage) in {("text", "empty"), ("text", "half")} or (kind == "bytes" and file.is_file()):
        read_kept(file, kind, REMEDY)  # any such bytes are text
        return
    with pytest.raises(DataError, match=f"{name} .*; {REMEDY}"):
        read_kept(file, kind, REMEDY)


@pytest.mark.parametrize("content", [b"[1, 2]", b"7", b'"text"', b"null", b"[" * 100_000])
def test_other_json_is_an_error(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a.json can't be read as JSON"):
        read_kept(tmp_path / "a.json", "json", REMEDY)


def test_pickles_and_single_arrays_are_refused(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "pickled.npz", a=np.array([{"a": 1}], object))
    with (tmp_path / "single.npz").open("wb") as stream:
        np.save(stream, np.arange(3))
    for name in ("pickled.npz", "single.npz"):
        with pytest.raises(DataError, match=f"{name} can't be read as arrays"):
            read_kept(tmp_path / name, "npz", REMEDY)


def test_a_damaged_manifest_says_so(tmp_path: pathlib.Path) -> None:
    write_kept(tmp_path / "a.txt", "a")
    manifest = tmp_path / "sums.json"
    good = manifest.read_bytes()
    for place in range(len(good)):
        manifest.write_bytes(good[:place] + bytes([good[place] ^ 2]) + good[place + 1 :])
        with pytest.raises(DataError, match=r"sums\.json, which holds the check sums"):
            read_kept(tmp_path / "a.txt", "text", REMEDY)
    for other in (b"", b"{}", b"[1]", b'{"files": {"a.txt": [1]}, "crc32": 0}'):
        manifest.write_bytes(other)
        with pytest.raises(DataError, match="delete it if you trust them"):
            read_kept(tmp_path / "a.txt", "text", REMEDY)
    manifest.unlink()
    assert read_kept(tmp_path / "a.txt", "text", REMEDY) == "a"
    assert not check_sums(tmp_path)


def test_a_folder_gets_one_manifest_of_all_its_files(tmp_path: pathlib.Path) -> None:
    with kept_folder(tmp_path / "ids") as part:
        (part / "deep").mkdir()
        (part / "deep" / "users.txt").write_text("u")
        (part / "items.txt").write_text("i")
    assert check_sums(tmp_path / "ids")
    (tmp_path / "ids" / "deep" / "users.txt").write_text("v")
    assert check_sums(tmp_path / "ids", ["items"])
    with pytest.raises(DataError, match=r"deep/users.txt is damaged"):
        check_sums(tmp_path / "ids")
    (tmp_path / "ids" / "items.txt").unlink()
    with pytest.raises(DataError, match=r"items.txt can't be read \(No such file"):
        check_sums(tmp_path / "ids", ["items"])


def test_a_writer_that_stops_anywhere_leaves_no_wrong_sum(tmp_path: pathlib.Path, monkeypatch) -> None:
    """Each call that changes the disk is, in turn, the last one."""
    file = tmp_path / "a.json"
    replace, stop_at = pathlib.Path.replace, 0

    def stopping(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(pathlib.Path, "replace", stopping)
    for stop_at in range(5):
        calls, stop = 0, stop_at
        stop_at = 99
        write_kept(file, '{"a": 1}')
        calls, stop_at = 0, stop
        with contextlib.suppress(KeyboardInterrupt):
            write_kept(file, '{"a": 2}')
        assert read_kept(file, "json", REMEDY) in ({"a": 1}, {"a": 2})
        check_sums(tmp_path)
    assert read_kept(file, "json", REMEDY) == {"a": 2}


def test_other_entries_of_a_manifest_stay(tmp_path: pathlib.Path) -> None:
    write_kept(tmp_path / "a.txt", "a")
    write_kept(tmp_path / "b.txt", "b")
    with kept_file(tmp_path / "a.txt") as part:
        part.write_text("c")
    write_whole(tmp_path / "not kept.txt", "d")
    assert sorted(json.loads((tmp_path / "sums.json").read_bytes())["files"]) == ["a.txt", "b.txt"]
    assert check_sums(tmp_path)
