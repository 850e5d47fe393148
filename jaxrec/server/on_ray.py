"""The server on Ray: replicas of it, on one machine or a cluster, behind one address."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jaxrec.ray_cluster import connect, import_ray, is_local
from jaxrec.server.guard import App
from jaxrec.server.limits import Limits, Replicas
from jaxrec.server.loading import load
from jaxrec.server.run import application, bound, names_of_host

log = logging.getLogger("jaxrec")
NAME = "jaxrec"
"""Of the application in Ray Serve."""
QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""Logging of Ray Serve."""


def serve_on_ray(
    folders: Sequence[str | os.PathLike[str]],
    *,
    replicas: Replicas,
    host: str = "127.0.0.1",
    port: int = 8080,
    shares: Sequence[float] = (),
    token: str | None = None,
    limits: Limits | None = None,
    allow_lists: Mapping[str, str | os.PathLike[str]] = MappingProxyType({}),
    **overrides: Any,
) -> None:
    """Serves trained runs by Ray Serve until the process is told to stop.

    The cluster is that of `RAY_ADDRESS`; without one, a local cluster starts and ends with the process. Replicas read
    the runs' folders, which must be at one path on all machines, and share their stores: events that one replica has
    acknowledged count in the others within `limits.store_seconds`. Each replica batches the requests that it gets.

    Args:
      folders: of runs and blends; the first is the default.
      replicas: how many, and what each takes.
      host: address to bind to.
      port: of the address; not 0.
      shares: of the users that each run answers where a request names no model.
      token: that requests must bear, or None.
      limits: bounds on requests, of each replica.
      allow_lists: files of named lists that requests may give as `allow`.
      **overrides: fields of the runs' eval config to change.
    Raises:
      ValueError: Ray is not installed, the cluster lacks what replicas take, or as of `jaxrec.server.run.serve`.
    """
    ray = import_ray()
    try:
        from ray import serve
    except ImportError as error:
        raise ValueError("--ray needs Ray Serve: pip install 'jaxrec[ray]'") from error
    if not port:
        raise ValueError("--ray wants a port that is known beforehand; give --port")
    limits = limits or Limits()
    paths = [str(pathlib.Path(folder).resolve()) for folder in folders]
    lists = {name: str(pathlib.Path(file).resolve()) for name, file in allow_lists.items()}
    build = functools.partial(
        application,
        paths,
        shares=shares,
        token=token,
        limits=limits,
        allow_lists=lists,
        hosts=names_of_host(host),
        **overrides,
    )
    for path in paths:
        load(path, **overrides)  # replicas would be started again and again
    bound(host, port).close()
    with contextlib.ExitStack() as ending:
        connect(ray)
        ending.callback(ray.shutdown)
        _check_room(ray.cluster_resources(), replicas)
        http = {"host": host, "port": port, "request_timeout_s": limits.answer_seconds + 1}
        serve.start(http_options=http, logging_config=QUIET)
        ending.callback(serve.shutdown if is_local() else functools.partial(serve.delete, NAME))
        deployed = _deployment(serve, build, replicas, limits).bind()
        serve.run(deployed, name=NAME, route_prefix="/", blocking=False, logging_config=QUIET)
        log.info("http://%s:%d opens the page; %d replicas; Ctrl-C ends the server", host, port, replicas.count)
        threading.Event().wait()


def _deployment(serve: Any, build: Callable[[], App], replicas: Replicas, limits: Limits) -> Any:
    options: dict[str, Any] = {"num_cpus": replicas.cpus, "num_gpus": replicas.gpus}
    if replicas.tpus:
        options["resources"] = {"TPU": replicas.tpus}

    @serve.deployment(
        name=NAME,
        num_replicas=replicas.count,
        ray_actor_options=options,
        max_ongoing_requests=limits.queue,  # the server's own queue answers 503 beyond it
        graceful_shutdown_timeout_s=limits.answer_seconds,
        logging_config=QUIET,
    )
    @serve.ingress(lambda: build())  # Ray calls what is a function, and takes anything else for an application
    class Server:
        """A replica."""

    return Server


def _check_room(resources: Mapping[str, float], replicas: Replicas) -> None:
    """Raises ValueError if the cluster can't hold the replicas; Ray would wait for more machines, in silence."""
    for name, each in (("CPU", replicas.cpus), ("GPU", replicas.gpus), ("TPU", replicas.tpus)):
        there, wanted = resources.get(name, 0.0), each * replicas.count
        if wanted > there:
            raise ValueError(
                f"{replicas.count} replicas of {each:g} {name} take {wanted:g}, and the Ray cluster has {there:g}; "
                f"lower --replicas.count or --replicas.{name.lower()}s"
            )
