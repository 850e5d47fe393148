"""Hyperparameter search: `jaxrec sweep configs/demo.py --grid train.learning_rate=1e-3,1e-2`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated

import tyro

import jaxrec
from jaxrec.cli.arguments import SideBySide, parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import Limits, Seed


@dataclasses.dataclass(frozen=True)
class Arguments(SideBySide):
    """Trains a config with every combination of some settings and every seed. The setting with the highest validation
    NDCG@10 is selected, and it alone is evaluated on the test items. Finished runs are reused.
    """

    config: tyro.conf.Positional[str]
    """Preset or configs/*.py file."""
    grid: tuple[str, ...]
    """Fields and values: `train.learning_rate=1e-3,1e-2 ids.clusters=50,100`; the numbers of a tuple are joined by +.
    With --trials also ranges: `train.learning_rate=log:1e-4..1e-1 ids.clusters=20..200`."""
    seeds: tuple[Seed, ...] = (0,)
    """Every setting is trained with every seed; the mean over seeds selects."""
    trials: Annotated[int | None, Limits(at_least=1)] = None
    """Number of settings sampled by Optuna (pip install -e '.[sweep]'), instead of all combinations."""
    out: str | None = None
    """Default: runs/CONFIG_sweep."""
    show_test: bool = False
    """Evaluate every setting on the test items, not only the selected one; do not select by that table."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the settings by validation NDCG@10, and the test results; both are also written into the folder."""
    arguments = parsed(Arguments, "sweep", argv)
    folder = pathlib.Path(arguments.out or f"runs/{pathlib.Path(arguments.config).stem}_sweep")
    result = jaxrec.sweep(
        arguments.config,
        arguments.grid,
        arguments.seeds,
        trials=arguments.trials,
        show_test=arguments.show_test,
        out=folder,
        workers=arguments.workers,
        ray=arguments.ray,
    )
    print(f"\n{result}\n\n{result.test}")
    print(
        f"\npictures: {folder / 'sweep.html'}"
        f"\nfolder: {folder}  (sweep.json, results.json of what was tested, and a run folder for each setting and seed)"
    )
