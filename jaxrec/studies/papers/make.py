"""Trains what papers' tables need, and writes them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from jaxrec.baselines.registry import Settings
from jaxrec.config import data_file
from jaxrec.files import write_whole
from jaxrec.studies import baselines
from jaxrec.studies.papers.asked import ask, check
from jaxrec.studies.papers.fill import fill
from jaxrec.studies.papers.lines import markdown
from jaxrec.studies.run_folders import results_of
from jaxrec.system import run as runs


def tables(
    paper: str,
    numbers: Sequence[int],
    seeds: Sequence[int],
    out: pathlib.Path,
    settings: Settings,
    *,
    study: str | None = None,
    dataset: str | None = None,
    folder: pathlib.Path | None = None,
    finished_only: bool = False,
) -> Iterator[dict[str, Any]]:
    """The tables one by one, each as soon as its runs are done; names and configs of all are checked before any run.

    Args:
      paper: "meta_id" or "token_rec".
      numbers: which of its tables.
      seeds: each run is made with each.
      out: gets a table as PAPER-NUMBER.json and .md.
      settings: of the baselines.
      study: a configs/*.py file whose rows are the runs; default: the table's own.
      dataset: one of the table's, ours or the paper's name; chooses the study and whose figures stand beside ours.
      folder: of the study's runs; default: OUT/STUDY.
      finished_only: whether nothing is trained.
    Yields:
      what the JSON holds: "rows", each with "cells" by column ("ours" by seed, "paper" as printed), "notes",
      "settings" and more; `jaxrec.studies.papers.lines` makes text of it.
    Raises:
      ValueError: a number, dataset, study, seed or config is wrong, or a folder holds a run of another config.
    """
    for name, values in (("tables", numbers), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name} {' '.join(map(str, values)) or '(none)'}: give at least one, each once")
    asked = [ask(paper, number, study, dataset, out, folder) for number in numbers]
    for one in asked:
        check(one)
        for source in () if finished_only else one.sources:
            for config in (one.config(source, seed) for seed in seeds):
                if config and source.trained:
                    runs.check(config)
                    if config.data.path:
                        data_file(config.data.path)
    out.mkdir(parents=True, exist_ok=True)
    vectors: dict[tuple, pathlib.Path] = {}
    for one in asked:
        for seed in () if finished_only else seeds:
            for source in one.sources:
                config = one.config(source, seed)
                if source.baseline and config:
                    baselines.train_baseline(source.baseline, config, settings)
                elif config and source.trained:
                    results_of(config, vectors)
        found = fill(one, seeds)
        write_whole(out / f"{one.stem}.json", json.dumps(found, indent=1) + "\n")
        write_whole(out / f"{one.stem}.md", markdown(found) + "\n")
        yield found
