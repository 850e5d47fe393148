"""Atomic writing of files and folders: written under a temporary name beside the final one, then renamed."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

PART = ".part"
"""Suffix of the temporary name."""


def write_whole(file: pathlib.Path, content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes to a file atomically, replacing an existing one."""
    with whole_file(file) as part:
        if isinstance(content, bytes):
            part.write_bytes(content)
        else:
            part.write_text(content, encoding="utf-8")


@contextlib.contextmanager
def whole_file(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to; it replaces `file` on success and is deleted on error."""
    part = file.with_name(file.name + PART)
    try:
        yield part
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty temporary folder to fill; it is renamed to `folder` on success and deleted on error.

    Parent folders are created. A temporary folder left by a killed process is deleted first.

    Raises:
      OSError: `folder` exists already and is not empty.
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
