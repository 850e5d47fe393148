"""The public function that serves trained runs over HTTP."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from jaxrec.api.run import TrainedRun
from jaxrec.files import read_kept
from jaxrec.studies.blend import BLEND_FILE


def serve(
    *runs: TrainedRun | str | os.PathLike[str], host: str = "127.0.0.1", port: int = 8080, token: str | None = None
) -> None:
    """Serves trained runs over HTTP, with a page to try them in, until the process is told to stop.

    Args:
      runs: trained runs, or their folders; the first answers requests that name no model, the others are chosen by the
        names of their folders.
      host: address to bind to; anything but loopback opens the server to other machines.
      port: of the address.
      token: that requests must bear, or None.
    Raises:
      ValueError: no run is given, a folder holds none or a blend, two have the same name, a store is damaged, or the
        address can't be bound.
    """
    from jaxrec.server.run import serve as serve_systems  # takes a second, which others should not wait for

    if not runs:
        raise ValueError("serve() needs a trained run or the folder of one")
    refuse_blends([run for run in runs if not isinstance(run, TrainedRun)])
    systems = [run._trained if isinstance(run, TrainedRun) else run for run in runs]
    serve_systems(systems, host=host, port=port, token=token)


def refuse_blends(folders: Sequence[str | os.PathLike[str]]) -> None:
    """Raises ValueError if one is the folder of a blend, which names the runs that can be served in its place."""
    for folder in map(pathlib.Path, folders):
        if not (folder / "config.json").is_file() and (file := folder / BLEND_FILE).is_file():
            parts = read_kept(file, "json", "put it back, or blend anew")["parts"]
            named = " ".join(os.path.normpath(folder / part["folder"]) for part in parts if part["kind"] == "run")
            raise ValueError(
                f"{folder} holds a blend, which answers in Python and by jaxrec recommend, but is not served; "
                f"serve its runs: jaxrec serve {named}"
            )
