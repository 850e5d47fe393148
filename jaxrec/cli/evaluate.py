"""Evaluate a trained run again: `jaxrec evaluate runs/demo [--recommender exact] [--beams 50]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

import jaxrec
from jaxrec.cli.arguments import parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import Limits


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Evaluates a run's best checkpoint and the baselines on held-out items (full ranking) and events (text tasks)."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    part: Literal["valid", "test"] = "test"
    """Held-out items and events to evaluate on."""
    recommender: Literal["beam", "exact"] | None = None
    """Beam search, or exact scores of the whole catalogue. Default: as in the run's config; so for all below."""
    beams: Annotated[int | None, Limits(at_least=1, at_most=10_000)] = None
    """Beam width."""
    prompt: Literal["seen", "unseen", "both"] | None = None
    """Prompt template: of training ("seen"), another one ("unseen"), or each in turn ("both")."""
    counts: bool = False
    """Add a row of the model blended with the counted baselines, weighted on validation items."""
    blend_with: tuple[str, ...] = ()
    """Trained baselines that join this blend, such as lightgcn; they are trained in the run's folder."""
    rerank: bool = False
    """Add a row of this blend re-ranked, by a small network that is fitted to validation items."""
    text_beams: Annotated[int | None, Limits(at_least=1, at_most=1000)] = None
    """Beams for explanations and summaries; 1: greedy decoding."""
    text_events: Annotated[int | None, Limits(at_least=0)] = None
    """Number of held-out events on which each text task is evaluated, sampled with the run's seed; 0: all."""
    accept_new_data: bool = False
    """Go on where events, ratings, times or titles of the run's users and items have changed since it was trained."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table; it is also written into the run's folder, under evaluations/."""
    arguments = parsed(Arguments, "evaluate", argv)
    settings = ("recommender", "beams", "prompt", "text_beams", "text_events")
    overrides = {name: value for name in settings if (value := getattr(arguments, name)) is not None}
    overrides |= {name: value for name in ("counts", "blend_with", "rerank") if (value := getattr(arguments, name))}
    print(jaxrec.evaluate_run(arguments.run, arguments.part, accept_new_data=arguments.accept_new_data, **overrides))
