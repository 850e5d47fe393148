"""Train and measure a run: `python -m launch.train configs/demo.py [--train.steps 200 ...]`."""

from __future__ import annotations

import sys

from jaxrec.methods import experiment
from jaxrec.methods.measuring import lines
from jaxrec.methods.report.write import FILE as REPORT
from launch.arguments import config_from_command_line, explained


@explained
def main() -> None:
    """Trains what a config describes, measures it beside the baselines, and leaves all of it in the run's folder."""
    config, show = config_from_command_line(sys.argv[1:])
    system, found = experiment.train(config)
    print(f"\n{lines(found)}")
    if "ms_per_user" in found:
        print(f"{found['ms_per_user']:.2f} ms per user for a list of ten")
    print()
    if show and config.task.ranking:
        for user in experiment.examples(system, 3):
            print(f"{experiment.recommend(system, 10, user=user)}\n")
    print(f"report: {config.folder / REPORT}")
    print(f"run folder: {config.folder}  (results.json, metrics.jsonl, ids/, checkpoints/, store/)")


if __name__ == "__main__":
    main()
