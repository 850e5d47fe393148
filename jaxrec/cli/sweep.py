"""Choose settings on validation: `jaxrec sweep configs/demo.py --grid train.learning_rate=1e-3,1e-2`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, parsed


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains a config with every combination of some settings, and each with every seed; NDCG@10 on the validation
    items chooses, and the chosen setting alone is measured on the test items. A call goes on with what an earlier one
    left.
    """

    config: tyro.conf.Positional[str]
    """A configs/*.py file."""
    grid: tuple[str, ...]
    """Fields and what to try: `train.learning_rate=1e-3,1e-2 ids.clusters=50,100`; numbers of a tuple are joined by +.
    With --trials also ranges: `train.learning_rate=log:1e-4..1e-1 ids.clusters=20..200`."""
    seeds: tuple[int, ...] = (0,)
    """Each setting is trained with each; the mean chooses."""
    trials: int | None = None
    """So many settings are drawn by Optuna (pip install -e '.[sweep]') in place of all combinations."""
    out: str | None = None
    """Default: runs/CONFIG_sweep."""
    show_test: bool = False
    """Measure every setting on the test items; choosing by that table would be choosing on the test items."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the settings by their validation and the table of what was tested, and leaves both in the folder."""
    arguments = parsed(Arguments, "sweep", argv)
    folder = pathlib.Path(arguments.out or f"runs/{pathlib.Path(arguments.config).stem}_sweep")
    result = jaxrec.sweep(
        arguments.config,
        arguments.grid,
        arguments.seeds,
        trials=arguments.trials,
        show_test=arguments.show_test,
        out=folder,
    )
    print(f"\n{result}\n\n{result.test}")
    print(
        f"\nfolder: {folder}  (sweep.json, results.json of what was tested, and a run folder for each setting and seed)"
    )
