"""Atomic writing of files and folders: written under a temporary name beside the final one, then renamed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator

from jaxrec.files.flock import InUseError, take

PART = ".part"
"""Suffix of the temporary name."""


def write_whole(file: pathlib.Path, content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes to a file atomically, replacing an existing one."""
    with whole_file(file) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_file(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to; it replaces `file` on success and is deleted on error.

    The temporary file is new and this process's own, so that no link leads elsewhere and two writers don't share it;
    those that killed processes left are deleted. What was written is on the disk before it gets its name.
    """
    _delete_left_behind(file)
    while True:
        part = file.with_name(f"{file.name}.{secrets.token_hex(4)}{PART}")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
        if take(descriptor):
            break
        os.close(descriptor)  # another process took it for one that was left behind, and deletes it
    try:
        yield part
        sync(part)
        part.replace(file)
        sync(file.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty temporary folder to fill; it is renamed to `folder` on success and deleted on error.

    Parent folders are created. A temporary folder left by a killed process is deleted first.

    Raises:
      InUseError: another process is filling the folder.
      OSError: `folder` exists already and is not empty.
    """
    part = folder.with_name(folder.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    if part.is_symlink() or part.is_file():
        part.unlink()
    part.mkdir(exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        if not take(descriptor):
            raise InUseError(f"{folder}: another process is writing it; wait for it, or choose another folder")
        try:
            _empty(part)
            yield part
            for path in part.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    sync(path)
            part.rename(folder)
            sync(folder.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def sync(path: pathlib.Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete_left_behind(file: pathlib.Path) -> None:
    """Deletes temporary files that no living process holds."""
    start = f"{file.name}."
    for path in file.parent.iterdir() if file.parent.is_dir() else ():
        if not (path.name.startswith(start) and path.name.endswith(PART)):
            continue
        if len(path.name) != len(start) + 8 + len(PART):  # of a file whose name begins alike
            continue
        if path.is_symlink():
            path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(FileNotFoundError, PermissionError):
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if take(descriptor):
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _empty(folder: pathlib.Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
