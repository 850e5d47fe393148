"""Files appear whole or not at all."""

import pathlib

import pytest

from jaxrec.files import whole_file, whole_folder, write_whole


def test_a_file_is_replaced_by_text_or_bytes(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.json"
    write_whole(file, "müßig\n")
    assert file.read_bytes() == "müßig\n".encode()
    write_whole(file, b"\x00\x01")
    assert file.read_bytes() == b"\x00\x01"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.txt"
    write_whole(file, "old")

    def write_half() -> None:
        with whole_file(file) as part:
            part.write_text("half of the n")
            assert file.read_text() == "old"
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_appears_whole(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "new" / "ids"
    left = tmp_path / "new" / "ids.part"
    left.mkdir(parents=True)
    (left / "stale.txt").write_text("of a process that was killed")
    with whole_folder(folder) as part:
        assert not list(part.iterdir())
        (part / "users.txt").write_text("u")
        assert not folder.exists()
    assert [file.name for file in folder.iterdir()] == ["users.txt"]
    assert not left.exists()


def test_an_error_leaves_no_folder(tmp_path: pathlib.Path) -> None:
    def write_half() -> None:
        with whole_folder(tmp_path / "ids") as part:
            (part / "users.txt").write_text("u")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_half()
    assert not list(tmp_path.iterdir())
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "mine.txt").write_text("dear")
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "ids"):
        pass
    assert (tmp_path / "ids" / "mine.txt").read_text() == "dear"
