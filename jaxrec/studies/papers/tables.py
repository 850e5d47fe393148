"""Trains the runs of the papers' tables, fills the tables, and writes them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from jaxrec.config import data_file
from jaxrec.files import write_whole
from jaxrec.studies import baselines
from jaxrec.studies.papers.fill import fill_table
from jaxrec.studies.papers.paper_table import PaperTable
from jaxrec.studies.papers.render import table_markdown
from jaxrec.studies.papers.request import check_request, table_request
from jaxrec.studies.run_folders import Vectors, results_of
from jaxrec.system import run as runs


def paper_tables(
    paper: str,
    numbers: Sequence[int],
    seeds: Sequence[int],
    out: pathlib.Path,
    settings: Any,
    *,
    study: str | None = None,
    dataset: str | None = None,
    folder: pathlib.Path | None = None,
    finished_only: bool = False,
) -> Iterator[PaperTable]:
    """Yields the tables one by one, each when its runs are finished; checks all before training.

    Args:
      paper: "meta_id" or "token_rec".
      numbers: which of its tables.
      seeds: every run is made with each seed.
      out: gets each table as PAPER-NUMBER.json and .md.
      settings: of the baselines.
      study: a preset's name or a file whose rows are the runs; default: the table's own.
      dataset: one of the table's datasets, by our name or the paper's; selects the study and the paper's figures.
      folder: of the study's runs; default: OUT/STUDY.
      finished_only: use finished runs only, train nothing.
    Yields:
      the filled tables.
    Raises:
      ValueError: a number, dataset, study, seed or config is wrong, or a folder holds a run of another config.
    """
    for name, values in (("tables", numbers), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name} {' '.join(map(str, values)) or '(none)'}: give at least one, each once")
    requests = [table_request(paper, number, study, dataset, out, folder) for number in numbers]
    for request in requests:
        check_request(request)
        for source in () if finished_only else request.sources:
            for config in (request.config(source, seed) for seed in seeds):
                if config and source.trained:
                    runs.check_run(config)
                    if config.data.path:
                        data_file(config.data.path)
    out.mkdir(parents=True, exist_ok=True)
    vectors: Vectors = {}
    for request in requests:
        for seed in () if finished_only else seeds:
            for source in request.sources:
                config = request.config(source, seed)
                if source.baseline and config:
                    if not baselines.obstacle(source.baseline, config):  # else the table says so
                        baselines.train_baseline(source.baseline, config, settings)
                elif config and source.trained:
                    results_of(config, vectors)
        table = fill_table(request, seeds)
        write_whole(out / f"{request.stem}.json", table.to_json())
        write_whole(out / f"{request.stem}.md", table_markdown(table) + "\n")
        yield table
