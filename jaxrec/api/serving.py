"""The public function that serves trained runs and blends over HTTP."""

from __future__ import annotations

import os

from jaxrec.api.blend import Blend
from jaxrec.api.run import TrainedRun
from jaxrec.inference.blends import BlendedParts
from jaxrec.system.system import System


def serve(
    *runs: TrainedRun | Blend | str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
) -> None:
    """Serves trained runs and blends over HTTP, with a page to try them in, until the process is told to stop.

    Args:
      runs: trained runs and blends, or their folders; the first answers requests that name no model, the others are
        chosen by the names of their folders. A blend's new events go to the store of its first run.
      host: address to bind to; anything but loopback opens the server to other machines.
      port: of the address.
      token: that requests must bear, or None.
    Raises:
      ValueError: no run is given, a folder holds none, a blend has no run, two have the same name, a store is damaged,
        or the address can't be bound.
    """
    from jaxrec.server.run import serve as serve_systems  # takes a second, which others should not wait for

    if not runs:
        raise ValueError("serve() needs a trained run or the folder of one")
    serve_systems([_loaded(run) for run in runs], host=host, port=port, token=token)


def _loaded(run: TrainedRun | Blend | str | os.PathLike[str]) -> System | BlendedParts | str | os.PathLike[str]:
    """What the server takes."""
    if isinstance(run, TrainedRun):
        return run._trained
    return run._blended if isinstance(run, Blend) else run
