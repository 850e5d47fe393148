"""Recommend with a trained run: `jaxrec recommend runs/demo --user NAME -k 10`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from jaxrec.cli.arguments import explained, parsed
from jaxrec.serve import newcomers, service
from jaxrec.system import loading


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Items for a user of the data, or for somebody new whose history is given."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    user: str | None = None
    """A user's name as it stands in the data."""
    history: str | None = None
    """Names of items, oldest first, with commas between: for somebody new."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """How many items."""
    task: Literal["sequential", "collaborative", "direct"] | None = None
    """Default: the first that the run was trained on."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the history, the ids that stand for it, and the recommendations with their scores."""
    arguments = parsed(Arguments, "recommend", argv)
    if (arguments.user is None) == (arguments.history is None):
        raise ValueError("give either --user NAME or --history a,b,c")
    items = (
        None if arguments.history is None else [name.strip() for name in arguments.history.split(",") if name.strip()]
    )
    system = newcomers.served(loading.load(arguments.run))
    print(service.recommend(system, arguments.k, user=arguments.user, history=items, task=arguments.task))
