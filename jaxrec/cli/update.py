"""Take new events into a trained run: `jaxrec update runs/demo --data new_events.csv`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxrec.cli.arguments import explained, parsed
from jaxrec.config import DataConfig
from jaxrec.data.load import load_interactions
from jaxrec.serve import newcomers, service
from jaxrec.system import loading


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
    config = DataConfig(
        path=arguments.data,
        format=arguments.format,
        columns=arguments.columns,
        items_path=arguments.items_path,
        min_events=1,
    )
    events, _ = load_interactions(config, seed=0)
    system = newcomers.served(loading.load(arguments.run))
    started = time.monotonic()
    system, done = newcomers.update(system, events)
    print(f"{done}; taken in within {time.monotonic() - started:.1f} s, nothing trained\n")
    for user in done.users[: arguments.show]:
        print(f"{service.recommend(system, arguments.k, user=str(system.data.user_names[user]))}\n")
