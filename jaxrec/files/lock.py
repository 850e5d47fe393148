"""A lock that keeps two processes from training, or writing otherwise, into one folder."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import platform
import threading
from collections.abc import Iterator

from jaxrec.files.flock import InUseError, take

LOCK_FILE = "run.lock"
"""Holds the process, host and start of who writes into the folder, or did last."""
_held: dict[pathlib.Path, int] = {}


@contextlib.contextmanager
def locked_folder(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder for one writer; the thread that holds it may take it again.

    A missing folder is created, and removed again where nothing was written.
    The system releases the lock when its process ends, so that a killed one leaves none behind; the file stays.

    Raises:
      InUseError: another process, or another thread of this one, holds it; the message says which and since when.
    """
    is_new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    if _held.get(place) == threading.get_ident():
        yield
        return
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        if not take(descriptor):
            owner = os.read(descriptor, 300).decode("utf-8", "replace").strip()
            raise InUseError(
                f"{folder} is being written by {owner or 'another process'}; wait for it, stop it, or give another "
                "folder"
            )
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {now}\n".encode())
        _held[place] = threading.get_ident()
        try:
            yield
        finally:
            del _held[place]
            if is_new and os.listdir(folder) == [LOCK_FILE]:  # nothing came of it
                (folder / LOCK_FILE).unlink()
                folder.rmdir()
    finally:
        os.close(descriptor)
