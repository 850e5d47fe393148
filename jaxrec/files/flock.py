"""A lock on an open file or folder, released by the system when its process ends, however it ends."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # where there is none, as on Windows, nothing is locked
    fcntl = None


class InUseError(ValueError):
    """A folder is being written by another process or thread."""


def take(descriptor: int) -> bool:
    """Takes the lock of an open file; False if another opening of the file holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
