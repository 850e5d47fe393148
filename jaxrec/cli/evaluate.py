"""Measure a trained run again: `jaxrec evaluate runs/demo [--recommender exact] [--beams 50]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, parsed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measures a run's best checkpoint beside the baselines on the held-out items, by full ranking, and events."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    part: Literal["valid", "test"] = "test"
    """Which held-out items."""
    recommender: Literal["beam", "exact"] | None = None
    """Default: as the run's config says."""
    beams: int | None = None
    prompt: Literal["seen", "unseen", "both"] | None = None
    """Whether the question was among those of training."""
    text_beams: int | None = None
    """Beams for explanations and summaries; 1 is greedy."""
    text_events: int | None = None
    """Held-out events that each task that writes is measured on, drawn by the run's seed; 0 takes all."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table and leaves it in the run's folder, under evaluations/."""
    arguments = parsed(Arguments, "evaluate", argv)
    settings = ("recommender", "beams", "prompt", "text_beams", "text_events")
    changed = {name: value for name in settings if (value := getattr(arguments, name)) is not None}
    print(jaxrec.evaluate_run(arguments.run, arguments.part, **changed))
