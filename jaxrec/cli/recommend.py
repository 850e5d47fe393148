"""Recommend with a trained run: `jaxrec recommend runs/demo --user NAME -k 10`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import Names, names, parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import PositiveInt


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Recommends items to a known user, or to a new user with a given history."""

    run: tyro.conf.Positional[str]
    """The folder of a run or blend."""
    user: str | None = None
    """Name of a user of the data or of an update."""
    history: Names = ()
    """Names of a new user's items, oldest first: separated by commas, or the option repeated for each."""
    exclude: Names = ()
    """Names of items that are not to be recommended, likewise."""
    allow: Names = ()
    """Names of the only items that may be recommended, likewise; default: all."""
    k: Annotated[PositiveInt, tyro.conf.arg(aliases=["-k"])] = 10
    """Number of items."""
    task: Literal["sequential", "collaborative", "direct", "autoregressive"] | None = None
    """Default: the main task of the run."""
    accept_new_data: bool = False
    """Go on where events, ratings, times or titles of the run's users and items have changed since it was trained."""
    popular_if_unknown: bool = False
    """List the most popular items for a user whose name is unknown."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the history with its item ids, and the recommendations with their scores."""
    arguments = parsed(Arguments, "recommend", argv)
    if (arguments.user is None) == (not arguments.history):
        raise ValueError("give either --user NAME or --history a,b,c (--history '' for somebody without one)")
    run = jaxrec.load(arguments.run, accept_new_data=arguments.accept_new_data)
    history = names(arguments.history) if arguments.history else None
    exclude = names(arguments.exclude)
    allow = names(arguments.allow) if arguments.allow else None
    task: dict[str, Any] = {} if arguments.task is None else {"task": arguments.task}
    if task and not isinstance(run, jaxrec.TrainedRun):
        raise ValueError("a blend recommends by the main task of its runs; leave --task out")
    print(
        run.recommend(
            arguments.user,
            arguments.k,
            history=history,
            exclude=exclude,
            allow=allow,
            popular_if_unknown=arguments.popular_if_unknown,
            **task,
        )
    )
