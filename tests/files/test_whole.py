"""Files appear whole or not at all, through no link, and one process writes them at a time."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from jaxrec.files import InUseError, whole_file, whole_folder, write_whole


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


def test_no_link_is_followed(tmp_path: pathlib.Path) -> None:
    """Links under the temporary names lead to a file and a folder that must stay as they are."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "dear.txt").write_text("dear")
    for name in ("a.json.part", "a.json.0123abcd.part", "ids.part"):
        (tmp_path / name).symlink_to(mine / "dear.txt" if name.startswith("a") else mine)
    write_whole(tmp_path / "a.json", "new")
    with whole_folder(tmp_path / "ids") as part:
        (part / "users.txt").write_text("u")
    assert [file.name for file in mine.iterdir()] == ["dear.txt"]
    assert (mine / "dear.txt").read_text() == "dear"
    assert (tmp_path / "a.json").read_text() == "new"
    assert not (tmp_path / "ids").is_symlink()
    assert not os.path.lexists(tmp_path / "a.json.0123abcd.part")


def test_a_link_that_is_replaced_leaves_its_target(tmp_path: pathlib.Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "old"
    assert not (tmp_path / "link").is_symlink()


def test_what_killed_processes_left_is_deleted(tmp_path: pathlib.Path) -> None:
    script = """
        import os, pathlib, sys
        from jaxrec.files import whole_file
        with whole_file(pathlib.Path(sys.argv[1])) as part:
            part.write_text("half of the n")
            os._exit(9)
    """
    file = tmp_path / "a.json"
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script), file]).returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    write_whole(file, "new")
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_of_a_file_share_no_temporary_one(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.json"
    with whole_file(file) as first:
        first.write_text("first")
        with whole_file(file) as second:
            second.write_text("second")
        assert file.read_text() == "second"
        assert first.read_text() == "first"
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_has_one_writer(tmp_path: pathlib.Path) -> None:
    with whole_folder(tmp_path / "ids") as part:
        (part / "users.txt").write_text("u")
        with pytest.raises(InUseError, match="another process is writing it"), whole_folder(tmp_path / "ids"):
            pass
    assert (tmp_path / "ids" / "users.txt").read_text() == "u"
