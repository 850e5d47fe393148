"""Add new events to a trained run: `jaxrec update runs/demo --data new_events.csv`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from jaxrec.cli.arguments import load_run, parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import Limits, NonNegativeInt, PositiveInt


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Adds events, new users and new items to a trained run, without training."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    data: str
    """File of events, in any format that training reads."""
    format: str = "auto"
    """Name of a reader; "auto" detects it from the file."""
    columns: tuple[str, ...] | None = None
    """ROLE=COLUMN, as in `data.columns` of a config. Here and in the following, None: as in the run's config."""
    separator: str | None = None
    """As `data.separator`: a character or a word for it; auto finds it."""
    encoding: str | None = None
    """As `data.encoding`: latin-1, cp1252, ..."""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] | None = None
    """As `data.time_unit`."""
    unpack_mib: Annotated[int | None, Limits(at_least=1, at_most=1_000_000)] = None
    """As `data.unpack_mib`."""
    bad_rows: Literal["error", "skip"] | None = None
    """As `data.bad_rows`."""
    items_path: str | None = None
    """File of item titles, for formats that store them separately."""
    show: NonNegativeInt = 3
    """Number of users with new events for whom recommendations are printed."""
    k: Annotated[PositiveInt, tyro.conf.arg(aliases=["-k"])] = 10
    """Number of items in a list."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Updates the run's store, and prints recommendations for some of the users with new events."""
    arguments = parsed(Arguments, "update", argv)
    run = load_run(arguments.run)
    started = time.monotonic()
    update = run.update(
        arguments.data,
        format=arguments.format,
        columns=arguments.columns,
        separator=arguments.separator,
        encoding=arguments.encoding,
        time_unit=arguments.time_unit,
        unpack_mib=arguments.unpack_mib,
        bad_rows=arguments.bad_rows,
        items_path=arguments.items_path,
    )
    print(f"{update}; added in {time.monotonic() - started:.1f} s, nothing trained\n")
    for user in update.users[: arguments.show]:
        print(f"{run.recommend(user, arguments.k)}\n")
