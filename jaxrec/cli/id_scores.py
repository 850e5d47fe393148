"""Diversity and memorization of trained runs' ids: `jaxrec id_scores runs/ONE [runs/OTHER ...]`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import tyro

from jaxrec.cli.arguments import explained, parsed
from jaxrec.files import write_whole
from jaxrec.report.scores import scores_page
from jaxrec.system.id_scores import FILE, before_and_after, table


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Scores ids by their token embeddings, before and after training (META ID, section 4), beside NDCG@10."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of trained runs; from three on, rank correlations are shown."""
    pairs: int = 100_000
    """How many pairs are sampled for diversity."""
    out: str = "runs/id_scores.html"
    """Gets a page with pictures of the scores."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table of the runs and draws it; each run's scores are left in its folder."""
    arguments = parsed(Arguments, "id_scores", argv)
    if not arguments.runs:
        raise ValueError("give the folder of a trained run: python -m launch.id_scores runs/demo")
    found = {run: before_and_after(run, pairs=arguments.pairs) for run in arguments.runs}
    print(table(found))
    out = pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, scores_page(found))
    print(f"\npictures: {out}; scores and the convergence of diversity: {FILE} in each run's folder")
