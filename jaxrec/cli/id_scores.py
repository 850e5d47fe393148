"""Diversity and memorization of trained runs' ids: `jaxrec id_scores runs/ONE [runs/OTHER ...]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tyro

import jaxrec
from jaxrec.cli.arguments import explained, parsed
from jaxrec.config.limits import PositiveInt


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Diversity and memorization of ids, from token embeddings before and after training (META ID, section 4)."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of trained runs; with three or more, rank correlations with NDCG@10 are shown."""
    pairs: PositiveInt = 100_000
    """Number of pairs sampled for diversity."""
    out: str = "runs/id_scores.html"
    """HTML page with charts of the scores."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table of the runs and writes a page of charts; each run's scores are also written into its folder."""
    arguments = parsed(Arguments, "id-scores", argv)
    scores = jaxrec.id_scores(arguments.runs, pairs=arguments.pairs)
    print(scores)
    page = scores.write_page(arguments.out)
    print(f"\npictures: {page}; scores and the convergence of diversity: id_scores.json in each run's folder")
