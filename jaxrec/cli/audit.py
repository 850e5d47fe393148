"""Check data and ids for errors and leaks: `jaxrec audit --data.path FILE [--ids USERS ITEMS]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jaxrec
from jaxrec.cli.arguments import explained, parsed
from jaxrec.config import DataConfig
from jaxrec.config.limits import Seed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Shows counts, time order and ties of the events, untrained baselines, and, given ids, whether they leak held-out
    items.
    """

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """Data in any supported format; without a path, the synthetic data."""
    ids: tuple[str, str] | None = None
    """Files of user ids and item ids, each line `NAME <CT79><1220>` or `NAME <Item><CT3><CI17>`."""
    seed: Seed = 0
    """For the order of events with equal times, and for the synthetic data."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the audit."""
    arguments = parsed(Arguments, "audit", argv)
    print(jaxrec.audit(arguments.data, ids=arguments.ids, seed=arguments.seed))
