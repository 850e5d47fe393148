"""Train and evaluate baselines: `jaxrec baselines configs/NAME.py --systems sasrec ease --seeds 0 1 2`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import tyro

import jaxrec
from jaxrec.baselines.registry import Settings
from jaxrec.cli.arguments import SideBySide, parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import Seed
from jaxrec.studies.baselines import Part
from jaxrec.studies.comparison import BaselineRun


@dataclasses.dataclass(frozen=True)
class Arguments(SideBySide, Settings):
    """Trains baselines on a config's data, each with every seed; finished runs are reused."""

    config: tyro.conf.Positional[str] = "configs/demo.py"
    """Config whose data, split and eval.mask_seen are used."""
    systems: tuple[str, ...] = ("sasrec",)
    """Names of baselines, as in the settings below: mf, lightgcn, sasrec, ... "fdsa" and "s3rec" need data with item
    attributes (data.attributes)."""
    seeds: tuple[Seed, ...] = (0,)
    """With several, the table shows mean and standard deviation."""
    part: Part = "test"
    """Held-out items to rank; use "valid" to choose settings."""
    out: str | None = None
    """Default: runs/CONFIG_baselines."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table; it is also written into the folder, beside the runs."""
    arguments = parsed(Arguments, "baselines", argv)
    folder = pathlib.Path(arguments.out or f"runs/{pathlib.Path(arguments.config).stem}_baselines")
    comparison = jaxrec.compare_baselines(
        arguments.config,
        arguments.systems,
        arguments.seeds,
        settings=arguments,
        part=arguments.part,
        out=folder,
        workers=arguments.workers,
        ray=arguments.ray,
    )
    print(f"\n{comparison}\n")
    for name, runs in comparison.runs.items():
        ndcg_by_seed = " ".join(f"{run.validation['ndcg@10']:.4f}" for run in runs if isinstance(run, BaselineRun))
        print(f"{name}: NDCG@10 on the validation items, by seed: {ndcg_by_seed}")
    print(f"\nfolder: {folder}  (the table, and a run folder for each system and seed)")
