"""Files of named allow lists."""

import pathlib

import pytest

from jaxrec.server.allow_lists import files_of, read_allow_lists
from jaxrec.types import DataError


def test_a_name_a_line_whatever_it_holds(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "shop.txt"
    file.write_bytes("\ufeffParis, Texas\r\n\nYi Yi\n  odd \nYi Yi\n".encode())
    assert read_allow_lists({"shop": file}) == {"shop": ("Paris, Texas", "Yi Yi", "  odd ")}


@pytest.mark.parametrize(
    ("content", "error"), [(None, "can't be read as text"), (b"\xff\xfe", "can't be read as text"), (b"\n", "names no")]
)
def test_a_file_that_is_no_list_is_refused(tmp_path: pathlib.Path, content: bytes | None, error: str) -> None:
    file = tmp_path / "shop.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=f"allow list 'shop': {file} {error}"):
        read_allow_lists({"shop": file})


def test_assignments() -> None:
    assert files_of(("a=x.txt", "b=y=z.txt")) == {"a": "x.txt", "b": "y=z.txt"}
    for wrong, error in ((("a",), "must be NAME=FILE"), (("=x",), "must be"), (("a=x", "a=y"), "has 'a' twice")):
        with pytest.raises(ValueError, match=error):
            files_of(wrong)
