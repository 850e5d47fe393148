"""Measure a trained run again: `python -m launch.evaluate runs/demo [--recommender exact] [--beams 50]`."""

from __future__ import annotations

import dataclasses
from typing import Literal

import tyro

from jaxrec.methods import experiment
from launch.arguments import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measures a run's best checkpoint beside the baselines, by full ranking on the held-out items."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    part: Literal["valid", "test"] = "test"
    """Which held-out items."""
    recommender: Literal["beam", "exact"] | None = None
    """Default: as the run's config says."""
    beams: int | None = None
    prompt: Literal["seen", "unseen", "both"] | None = None
    """Whether the question was among those of training."""


@explained
def main() -> None:
    """Prints the table and leaves it in the run's folder, under evaluations/."""
    arguments = tyro.cli(Arguments, prog="launch.evaluate")
    changed = {n: v for n in ("recommender", "beams", "prompt") if (v := getattr(arguments, n)) is not None}
    print(experiment.evaluate(experiment.load(arguments.run, **changed), arguments.part))


if __name__ == "__main__":
    main()
