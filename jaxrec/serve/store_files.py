"""What a vector store needs beside its database: one writer at a time, errors with paths, lost files noticed."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator

LOCK_SECONDS = 60.0
REPAIR = "open an older state with versions=... and write it to a new store; delete a damaged newest manifest before"


def last_version(path: str, table: str) -> int:
    """The last version that a local table's writers noted, which a lost manifest would silently take back; or 0."""
    note = pathlib.Path(path) / f"{table}.lance" / "_versions" / "latest_version_hint.json"
    try:
        return int(json.loads(note.read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # it is only a note: a URI or an older LanceDB has none


@contextlib.contextmanager
def explained(path: str, what: str, hint: str = REPAIR) -> Iterator[None]:
    """Turns what LanceDB and Arrow raise into a ValueError that names the path."""
    try:
        yield
    except BaseException as error:
        # A damaged file can make their Rust code panic, which is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ValueError(f"{path}: {what}; {hint} ({str(error)[:300]})") from error
        raise


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """One writer at a time in a local folder, of all processes and threads; nothing for a URI."""
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
