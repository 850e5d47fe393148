"""Look at data and ids before trusting them: `jaxrec audit --data.path FILE [--ids USERS ITEMS]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jaxrec
from jaxrec.cli.arguments import explained, parsed
from jaxrec.config import DataConfig


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Counts, order, ties, three baselines, and, where ids are given, whether held-out items were in view."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """Any supported file; without a path, the generated world."""
    ids: tuple[str, str] | None = None
    """Files of user and item ids, `NAME <CT79><1220>` or `NAME <Item><CT3><CI17>` a line."""
    seed: int = 0
    """Of the shuffle among events at one time, and of the generated world."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the findings."""
    arguments = parsed(Arguments, "audit", argv)
    print(jaxrec.audit(arguments.data, ids=arguments.ids, seed=arguments.seed))
