"""Files of a vector store: writer lock, error messages with paths, and detection of lost manifests."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator

from jaxrec.types import DataError

LOCK_SECONDS = 60.0
REPAIR = "open an older state with versions=... and write it to a new store; delete a damaged newest manifest before"


def last_version(path: str, table: str) -> int:
    """The last version in a local table's hint file, or 0; reveals a lost manifest, which would silently revert it."""
    note = pathlib.Path(path) / f"{table}.lance" / "_versions" / "latest_version_hint.json"
    try:
        return int(json.loads(note.read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # the hint is optional: a URI or an older LanceDB has none


@contextlib.contextmanager
def explained(path: str, what: str, hint: str = REPAIR) -> Iterator[None]:
    """Turns errors of LanceDB and Arrow into a DataError that names the path."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a damaged file can make their Rust code panic, which raises a BaseException
        raise DataError(f"{path}: {what}; {hint} ({str(error)[:300]})") from error


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """A lock for one writer at a time across processes and threads in a local folder; no lock for a URI."""
    if "://" in path:
        yield
        return
    import fcntl

    deadline = time.monotonic() + LOCK_SECONDS
    with (pathlib.Path(path) / "writer.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ValueError(
                        f"{path}: another process has been writing for {LOCK_SECONDS:.0f} s; try again when it is done"
                    ) from None
                time.sleep(0.02)
        yield
