"""Serve trained runs and blends over HTTP: `jaxrec serve runs/demo_study/meta_id-0 runs/demo_study/tokenrec-0`."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Literal

import tyro

from jaxrec.cli.arguments import parsed
from jaxrec.cli.failures import explained
from jaxrec.server.limits import Limits, Replicas

TOKEN = "JAXREC_TOKEN"
"""Environment variable of the bearer token: an argument could be read by every user of the machine."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Serves runs over HTTP, with a page to try them in. If $JAXREC_TOKEN is set, requests must bear it."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of runs and blends; the first is the default."""
    host: str = "127.0.0.1"
    """Address to bind to; 0.0.0.0 opens the server to other machines."""
    port: int = 8080
    """Port of the address; 0 takes a free one."""
    shares: tuple[float, ...] = ()
    """Share of the users that each run answers where a request names no model, in the order of runs."""
    allow_lists: tuple[str, ...] = ()
    """NAME=FILE: lists that requests may give as `allow` by name; a file has an item's name a line."""
    recommender: Literal["beam", "exact"] | None = None
    """Beam search, or scores of the whole catalogue; default: as the runs were configured."""
    beams: int | None = None
    """Beam width, and the most items of a list."""
    ray: bool = False
    """Serve by replicas on the Ray cluster of $RAY_ADDRESS, or on a local one (pip install 'jaxrec[ray]')."""
    replicas: Replicas = dataclasses.field(default_factory=Replicas)
    limits: Limits = dataclasses.field(default_factory=Limits)


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Serves until it is told to stop."""
    arguments = parsed(Arguments, "serve", argv)
    if not arguments.runs:
        raise ValueError("give the folder of a run: jaxrec serve runs/demo_study/meta_id-0")
    overrides = {"recommender": arguments.recommender, "beams": arguments.beams}
    from jaxrec.server.allow_lists import files_of
    from jaxrec.server.on_ray import serve_on_ray  # these take a second, which --help should not
    from jaxrec.server.run import serve

    if arguments.ray:
        start = functools.partial(serve_on_ray, replicas=arguments.replicas)
    elif arguments.replicas == Replicas():
        start = serve
    else:
        raise ValueError("--replicas are those of a Ray cluster; add --ray")
    start(
        arguments.runs,
        host=arguments.host,
        port=arguments.port,
        shares=arguments.shares,
        token=os.environ.get(TOKEN) or None,
        limits=arguments.limits,
        allow_lists=files_of(arguments.allow_lists),
        **{name: value for name, value in overrides.items() if value is not None},
    )
