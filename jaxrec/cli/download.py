"""Download a public data set: `jaxrec download ml-100k`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import tyro

import jaxrec
from jaxrec.cli.arguments import parsed
from jaxrec.cli.failures import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Downloads a public data set from its official address; an interrupted download is resumed."""

    name: tyro.conf.Positional[str]
    """ml-100k, ml-1m, ml-20m, lastfm, amazon-beauty, amazon-sports-and-outdoors, ...; the error for an unknown name
    lists all."""
    folder: pathlib.Path = pathlib.Path("data")
    """Where the data set's own folder is created."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the paths of the files and the command that audits them."""
    arguments = parsed(Arguments, "download", argv)
    data = jaxrec.download(arguments.name, arguments.folder)
    print(f"events: {data.events}")
    if data.titles is not None:
        print(f"titles: {data.titles}")
    print(f"look at it: python -m launch.audit --data.path {data.events}")
