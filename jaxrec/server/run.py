"""Starts a server for trained runs and blends, and ends it."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import uvicorn

from jaxrec.inference.blends import BlendedParts
from jaxrec.server.allow_lists import read_allow_lists, warn_of_unknown
from jaxrec.server.app import make_app
from jaxrec.server.guard import App
from jaxrec.server.limits import Limits
from jaxrec.server.loading import load
from jaxrec.server.metrics import Metrics
from jaxrec.server.model import ServedModel
from jaxrec.server.models import Models, model_names
from jaxrec.system.system import System

log = logging.getLogger("jaxrec")


def serve(
    runs: Sequence[System | BlendedParts | str | os.PathLike[str]],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    shares: Sequence[float] = (),
    token: str | None = None,
    limits: Limits | None = None,
    allow_lists: Mapping[str, str | os.PathLike[str]] = MappingProxyType({}),
    **overrides: Any,
) -> None:
    """Serves trained runs until the process is told to stop; answers what is in flight before it returns.

    Args:
      runs: folders of runs and blends, or loaded ones; the first is the default.
      host: address to bind to; anything but loopback opens the server to other machines.
      port: of the address.
      shares: of the users that each run answers where a request names no model; (): the first run answers all.
      token: that requests must bear, or None.
      limits: bounds on requests.
      allow_lists: files of named lists that requests may give as `allow`, see `read_allow_lists`.
      **overrides: fields of the runs' eval config to change, as of `jaxrec.load`.
    Raises:
      ValueError: a folder holds neither, a blend has no run, there are overrides for a blend, two are called the same,
        or the address can't be bound.
    """
    limits = limits or Limits()
    sockets = [bound(host, port)]
    app = application(
        runs, shares=shares, token=token, limits=limits, allow_lists=allow_lists, hosts=names_of_host(host), **overrides
    )
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks who the client is
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(limits.answer_seconds) + 1,
    )
    shown = f"[{host}]" if ":" in host else host
    log.info("http://%s:%d opens the page; Ctrl-C ends the server", shown, sockets[0].getsockname()[1])
    with contextlib.suppress(KeyboardInterrupt):  # which the server has obeyed before it raises it again
        uvicorn.Server(config).run(sockets)


def application(
    runs: Sequence[System | BlendedParts | str | os.PathLike[str]],
    *,
    shares: Sequence[float] = (),
    token: str | None = None,
    limits: Limits | None = None,
    allow_lists: Mapping[str, str | os.PathLike[str]] = MappingProxyType({}),
    hosts: tuple[str, ...] | None = None,
    **overrides: Any,
) -> App:
    """The server as an ASGI application, for another server than uvicorn or for tests; see `serve`.

    Args:
      runs: folders of runs and blends, or loaded ones.
      shares: of the users that each run answers.
      token: that requests must bear, or None.
      limits: bounds on requests.
      allow_lists: files of named lists that requests may give as `allow`, see `read_allow_lists`.
      hosts: names by which the server may be called; None: any.
      **overrides: fields of the runs' eval config to change.
    """
    limits, metrics, lists = limits or Limits(), Metrics(), read_allow_lists(allow_lists)
    loaded = [load(run, **overrides) for run in runs]
    served = [
        ServedModel(name, functools.partial(load, run.folder, **overrides), run, limits, metrics, lists)
        for name, run in zip(model_names([run.folder for run in loaded]), loaded, strict=True)
    ]
    for model in served:
        warn_of_unknown(model.name, lists, model.snapshot.names.items)
    return make_app(Models(served, shares), limits, metrics, token=token, hosts=hosts)


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address.

    Raises:
      ValueError: the address can't be bound.
    """
    try:
        return uvicorn.Config("", host=host, port=port, log_level="critical").bind_socket()
    except SystemExit as error:  # how uvicorn says it
        raise ValueError(f"{host}:{port} can't be bound; take another --port") from error


def names_of_host(host: str) -> tuple[str, ...] | None:
    """By which names a server that is bound to `host` may be called: on loopback by its own alone."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return tuple(dict.fromkeys((host, "localhost", "127.0.0.1", "::1"))) if loopback else None
