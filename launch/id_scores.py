"""Diversity and memorization of trained runs' ids: `python -m launch.id_scores runs/ONE [runs/OTHER ...]`."""

from __future__ import annotations

import dataclasses

import tyro

from jaxrec.methods.id_scores import FILE, before_and_after, table
from launch.arguments import explained


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Scores ids by their token embeddings, before and after training (META ID, section 4), beside NDCG@10."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of trained runs; from three on, rank correlations are shown."""
    pairs: int = 100_000
    """How many pairs are sampled for diversity."""


@explained
def main() -> None:
    """Prints a table of the runs; each run's scores are left in its folder, with diversity's convergence curve."""
    arguments = tyro.cli(Arguments, prog="launch.id_scores")
    if not arguments.runs:
        raise ValueError("give the folder of a trained run: python -m launch.id_scores runs/demo")
    print(table({run: before_and_after(run, pairs=arguments.pairs) for run in arguments.runs}))
    print(f"\nscores and the convergence of diversity: {FILE} in each run's folder")


if __name__ == "__main__":
    main()
