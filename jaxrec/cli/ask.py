"""Predict ratings or generate texts: `jaxrec ask runs/instruments_cpu rating --user NAME --items a,b`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tyro

from jaxrec.cli.arguments import Names, load_run, names, parsed
from jaxrec.cli.failures import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Predicts a user's ratings of items, or generates texts about items or a review."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    task: tyro.conf.Positional[Literal["rating", "explanation", "review", "preference"]]
    """A task that the run was trained on."""
    user: str
    """Name of a user of the data."""
    items: Names = ()
    """Names of items, separated by commas, or the option repeated for each; for "rating" and "explanation"."""
    feature: str = ""
    """Feature word of an "explanation"."""
    review: str = ""
    """The review that "review" summarises and "preference" rates."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints an answer per item: stars with the probability of each rating, or a text."""
    arguments = parsed(Arguments, "ask", argv)
    answers = load_run(arguments.run).ask(
        arguments.task,
        user=arguments.user,
        items=names(arguments.items),
        feature=arguments.feature,
        review=arguments.review,
    )
    for answer in answers:
        print(answer)
