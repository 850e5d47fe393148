"""Recommend with a trained run: `jaxrec recommend runs/demo --user NAME -k 10`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, names, parsed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Items for a user of the data, or for somebody new whose history is given."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    user: str | None = None
    """A user's name as it stands in the data."""
    history: str | None = None
    """Names of items, oldest first, with commas between: for somebody new."""
    exclude: str = ""
    """Names of items that are not recommended, with commas between."""
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
    recommendations = jaxrec.load(arguments.run).recommend(
        arguments.user,
        arguments.k,
        history=None if arguments.history is None else names(arguments.history),
        exclude=names(arguments.exclude),
        task=arguments.task,
    )
    print(recommendations)
