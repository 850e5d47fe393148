"""Ask a trained run for stars and words: `jaxrec ask runs/instruments_cpu rating --user NAME --items a,b`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, names, parsed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a user of the data would give to items, or say about them."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    task: tyro.conf.Positional[Literal["rating", "explanation", "review", "preference"]]
    """One that the run was trained on."""
    user: str
    """A user's name as it stands in the data."""
    items: str = ""
    """Names of items, with commas between: for "rating" and "explanation"."""
    feature: str = ""
    """The word that an explanation is about."""
    review: str = ""
    """The text that "review" sums up and "preference" rates."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints an answer for each item: stars with the odds of each, or a text."""
    arguments = parsed(Arguments, "ask", argv)
    answers = jaxrec.load(arguments.run).ask(
        arguments.task,
        user=arguments.user,
        items=names(arguments.items),
        feature=arguments.feature,
        review=arguments.review,
    )
    for answer in answers:
        print(answer)
