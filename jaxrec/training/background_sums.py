"""Writes the check sums of a checkpoint in the background, as soon as orbax has given it its name."""

from __future__ import annotations

import pathlib
import threading

from jaxrec.files import write_sums

POLL_SECONDS = 0.02


class BackgroundSums:
    """Sums one folder at a time, once it exists; a checkpoint gets its name when all of it is written."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._error: OSError | None = None

    def start(self, folder: pathlib.Path) -> None:
        """Waits in the background until the folder exists, then writes its manifest."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._sum, args=(folder,), name="check sums", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits for the manifest of a folder that exists, and gives up one that does not.

        Raises:
          OSError: it could not be written.
        """
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _sum(self, folder: pathlib.Path) -> None:
        while not folder.is_dir():
            if self._stop.is_set() and not folder.is_dir():
                return
            self._stop.wait(POLL_SECONDS)
        try:
            write_sums(folder)
        except OSError as error:
            self._error = error
