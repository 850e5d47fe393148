"""The Ray cluster of `RAY_ADDRESS`, or a local one that ends with this process."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from typing import Any

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # which writes a stack trace for every SIGTERM
}


def import_ray() -> Any:
    """The module `ray`.

    Raises:
      ValueError: Ray is not installed.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ValueError("--ray needs Ray: pip install 'jaxrec[ray]'") from error
    return ray


def is_local() -> bool:
    """Whether `connect` starts a cluster on this machine."""
    return not os.environ.get("RAY_ADDRESS")


def connect(ray: Any) -> None:
    """Connects to the cluster; `ray.shutdown()` ends that.

    SIGTERM keeps its handler, which Ray replaces by one that ends the process with another exit code.
    """
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # it runs another program at once
        ray.init(include_dashboard=False if is_local() else None, logging_level=logging.WARNING)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
