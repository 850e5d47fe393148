"""Files and folders that appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

PART = ".part"
"""What is appended to the name of a file or folder while it is being written."""


def write_whole(file: pathlib.Path, content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes to a file, replacing what was there."""
    with whole_file(file) as part:
        if isinstance(content, bytes):
            part.write_bytes(content)
        else:
            part.write_text(content, encoding="utf-8")


@contextlib.contextmanager
def whole_file(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the path to write to; it takes the place of `file` at the end, and is deleted after an error."""
    part = file.with_name(file.name + PART)
    try:
        yield part
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder to fill; it is renamed to `folder` at the end, and deleted after an error.

    Parent folders are made. What a killed process left under the temporary name is deleted first.

    Raises:
      OSError: `folder` is there already and not empty.
    """
    part = folder.with_name(folder.name + PART)
    if part.is_dir():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
