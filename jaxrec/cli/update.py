"""Take new events into a trained run: `jaxrec update runs/demo --data new_events.csv`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Annotated

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, parsed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Events of known and new users with known and new items; nothing is trained."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    data: str
    """The events, in any format that training reads."""
    format: str = "auto"
    """A reader's name; "auto" recognises it."""
    columns: tuple[str, ...] = ()
    """What a table's columns mean, as in `data.columns` of a config."""
    items_path: str | None = None
    """A file of item titles, where the format has one."""
    show: int = 3
    """Print recommendations for so many of the users with new events."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """How many."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Refreshes vectors, encodes newcomers, writes the run's store, and recommends to some of the users."""
    arguments = parsed(Arguments, "update", argv)
    run = jaxrec.load(arguments.run)
    started = time.monotonic()
    update = run.update(
        arguments.data, format=arguments.format, columns=arguments.columns, items_path=arguments.items_path
    )
    print(f"{update}; taken in within {time.monotonic() - started:.1f} s, nothing trained\n")
    for user in update.users[: arguments.show]:
        print(f"{run.recommend(user, arguments.k)}\n")
