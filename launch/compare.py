"""Train and measure several runs as one table: `python -m launch.compare configs/demo_study.py [--seeds 0 1 2]`."""

from __future__ import annotations

import dataclasses
import pathlib

import tyro

from jaxrec.config import load_study
from jaxrec.methods import experiment
from jaxrec.methods.compare import compare, run_folder, table
from launch.arguments import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Runs every config of a study with every seed; what an earlier call finished is not done again."""

    study: tyro.conf.Positional[str]
    """A configs/*.py file that builds `study`, configs by the names of their rows, or one `config`."""
    seeds: tuple[int, ...] = (0,)
    """Each config is run with each; several give a mean and a standard deviation."""
    out: str | None = None
    """Default: runs/STUDY."""
    show: int = 0
    """Print recommendations of the first seed's runs for so many users."""


@explained
def main() -> None:
    """Prints the table and leaves it in the folder as results.json, beside the runs."""
    arguments = tyro.cli(Arguments, prog="launch.compare")
    study = load_study(arguments.study)
    folder = pathlib.Path(arguments.out or f"runs/{pathlib.Path(arguments.study).stem}")
    joined = compare(study, arguments.seeds, folder)
    for name in study if arguments.show else ():
        system = experiment.load(run_folder(folder, name, arguments.seeds[0]))
        print(f"\n{name}")
        for user in experiment.examples(system, arguments.show):
            print(f"{experiment.recommend(system, 10, user=user)}\n")
    print(f"\n{table(joined)}\n\nfolder: {folder}  (results.json, and a run folder for each row and seed)")


if __name__ == "__main__":
    main()
