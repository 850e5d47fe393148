"""Recommend with a trained run: `jaxrec recommend runs/demo --user NAME -k 10`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, names, parsed
from jaxrec.config.limits import PositiveInt


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Recommends items to a known user, or to a new user with a given history."""

    run: tyro.conf.Positional[str]
    """The folder of a run or blend."""
    user: str | None = None
    """Name of a user of the data or of an update."""
    history: str | None = None
    """Names of a new user's items, oldest first, comma-separated."""
    exclude: str = ""
    """Names of items that are not to be recommended, comma-separated."""
    k: Annotated[PositiveInt, tyro.conf.arg(aliases=["-k"])] = 10
    """Number of items."""
    task: Literal["sequential", "collaborative", "direct", "autoregressive"] | None = None
    """Default: the main task of the run."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the history with its item ids, and the recommendations with their scores."""
    arguments = parsed(Arguments, "recommend", argv)
    if (arguments.user is None) == (arguments.history is None):
        raise ValueError("give either --user NAME or --history a,b,c")
    run = jaxrec.load(arguments.run)
    history = None if arguments.history is None else names(arguments.history)
    exclude = names(arguments.exclude)
    if isinstance(run, jaxrec.TrainedRun):
        print(run.recommend(arguments.user, arguments.k, history=history, exclude=exclude, task=arguments.task))
    elif arguments.task is not None:
        raise ValueError("a blend recommends by the main task of its runs; leave --task out")
    else:
        print(run.recommend(arguments.user, arguments.k, history=history, exclude=exclude))
