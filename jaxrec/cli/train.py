"""Train and evaluate a run: `jaxrec train demo [--data FILE] [--train.steps 200 ...]`."""

from __future__ import annotations

from collections.abc import Sequence

import jaxrec
from jaxrec.cli.arguments import config_from_command_line
from jaxrec.cli.failures import explained


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Trains a run, evaluates it and the baselines, and prints the results and the run's folder."""
    config, show = config_from_command_line(argv)
    run = jaxrec.train(config)
    results = run.results
    print(f"\n{results}")
    if results.ms_per_user is not None:
        print(f"{results.ms_per_user:.2f} ms per user for a list of ten")
    print()
    if show and config.task.ranking:
        for user in run.examples(3):
            print(f"{run.recommend(user)}\n")
    print(f"report: {run.report}")
    print(f"run folder: {run.folder}  (results.json, metrics.jsonl, ids/, checkpoints/, store/)")
