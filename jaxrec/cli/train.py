"""Train and measure a run: `jaxrec train demo [--data FILE] [--train.steps 200 ...]`."""

from __future__ import annotations

from collections.abc import Sequence

from jaxrec import experiment
from jaxrec.cli.arguments import config_from_command_line, explained
from jaxrec.report.write import FILE as REPORT
from jaxrec.serve import service
from jaxrec.system.measuring import lines


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Trains what a config describes, measures it beside the baselines, and leaves all of it in the run's folder."""
    config, show = config_from_command_line(argv)
    system, found = experiment.train(config)
    print(f"\n{lines(found)}")
    if "ms_per_user" in found:
        print(f"{found['ms_per_user']:.2f} ms per user for a list of ten")
    print()
    if show and config.task.ranking:
        for user in service.examples(system, 3):
            print(f"{service.recommend(system, 10, user=user)}\n")
    print(f"report: {config.folder / REPORT}")
    print(f"run folder: {config.folder}  (results.json, metrics.jsonl, ids/, checkpoints/, store/)")
