"""Blend runs and baselines: `jaxrec blend RUN [RUN ...] --with transitions item-knn --out FOLDER`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

import jaxrec
from jaxrec.baselines.registry import Settings
from jaxrec.cli.arguments import parsed
from jaxrec.cli.failures import explained
from jaxrec.config.limits import NonNegativeInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(Settings):
    """Mixes trained runs and baselines log-linearly, with weights by NDCG@10 on validation items, and evaluates it."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of trained runs, or of baselines that `jaxrec baselines` trained, NAME-SEED."""
    baselines: Annotated[tuple[str, ...], tyro.conf.arg(name="with")] = ("transitions", "item-kNN", "popularity")
    """Names of baselines: popularity, item-knn, transitions, or those in the settings below, which are then trained."""
    out: str | None = None
    """Default: runs/RUN_blend."""
    users: NonNegativeInt = 5000
    """Maximum number of validation users to choose weights by; 0: all."""
    rerank: bool = False
    """Put the blend's first 300 items in order by a small network, fitted to the validation items of all users, if
    cross-validation over these users says that it is better."""


@explained
def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table with the weights; it is also written into the folder."""
    arguments = parsed(Arguments, "blend", argv)
    blend = jaxrec.blend(
        [*arguments.runs, *arguments.baselines],
        out=arguments.out,
        users=arguments.users,
        rerank=arguments.rerank,
        settings=arguments,
    )
    print(f"\n{blend.results}\n\nfolder: {blend.folder}  (jaxrec recommend {blend.folder} --user NAME)")
