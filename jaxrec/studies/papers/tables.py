"""Trains the runs of the papers' tables, the cheapest first; fills the tables, and writes them."""

from __future__ import annotations

import math
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from jaxrec.config import data_file
from jaxrec.files import write_whole
from jaxrec.progress import clock, logger
from jaxrec.studies import baselines
from jaxrec.studies.papers.fill import fill_table
from jaxrec.studies.papers.layouts import table_layout, table_numbers
from jaxrec.studies.papers.paper_table import PaperTable
from jaxrec.studies.papers.plan import Durations, Job, plan_lines, table_jobs
from jaxrec.studies.papers.render import table_markdown
from jaxrec.studies.papers.request import TableRequest, check_request, table_request
from jaxrec.studies.run_folders import Vectors, results_of, train
from jaxrec.studies.workers import IN_TURN, Task, Workers, check_none_failed, run_tasks
from jaxrec.system import run as runs
from jaxrec.training.interrupt import OutOfTimeError, time_limit


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
    only: Sequence[str] = (),
    budget: float | None = None,
    finished_only: bool = False,
    workers: Workers = IN_TURN,
) -> Iterator[PaperTable]:
    """Yields the tables one by one, each when its runs are finished; checks all before training.

    Runs are trained in the order of their cost, and logged beforehand with about how long each takes. Tables whose runs
    are not all finished when the budget is spent come last, and say what is missing.

    Args:
      paper: "meta_id" or "token_rec".
      numbers: which of its tables; none: all, and with each of their studies, unless a dataset or study is given.
      seeds: every run is made with each seed.
      out: gets each table as PAPER-NUMBER.json and .md.
      settings: of the baselines.
      study: a preset's name or a file whose rows are the runs; default: the table's own.
      dataset: one of the table's datasets, by our name or the paper's; selects the study and the paper's figures.
      folder: of the study's runs; default: OUT/STUDY.
      only: names of rows to train; none: all. Other rows are filled where their runs are finished.
      budget: seconds after which training stops, to be resumed by the next call; None: no limit.
      finished_only: use finished runs only, train nothing.
      workers: how many runs are trained at a time, and where.
    Yields:
      the filled tables.
    Raises:
      ValueError: a number, dataset, study, seed, row or config is wrong, or a folder holds a run of another config.
    """
    for name, values in (("tables", numbers), ("seeds", seeds)):
        if len(set(values)) < len(values) or (name == "seeds" and not values):
            raise ValueError(f"{name} {' '.join(map(str, values)) or '(none)'}: give at least one, each once")
    if budget is not None and not budget > 0:
        raise ValueError(f"budget {budget}: give seconds above 0, or None for no limit")
    requests = _requests(paper, numbers, study, dataset, out, folder)
    for request in requests:
        check_request(request)
    every_job = [] if finished_only else table_jobs(requests, seeds, only)
    jobs = [job for job in every_job if not job.finished]
    for job in jobs:
        runs.check_run(job.config)
        if job.config.data.path:
            data_file(job.config.data.path)
    out.mkdir(parents=True, exist_ok=True)
    durations = Durations(out, [job for job in every_job if job.finished])
    if not finished_only:
        logger.info("%s", "\n".join(plan_lines(jobs, durations)))
    left = list(requests)
    for remaining in _train_all(jobs, durations, settings, budget, workers):
        for request in [r for r in left if not any(r.stem in job.tables for job in remaining)]:
            left.remove(request)
            yield _filled(request, seeds, out)
    for request in left:
        yield _filled(request, seeds, out)


def _requests(
    paper: str,
    numbers: Sequence[int],
    study: str | None,
    dataset: str | None,
    out: pathlib.Path,
    folder: pathlib.Path | None,
) -> list[TableRequest]:
    """The tables to fill; without numbers those that the study or dataset can fill."""
    if numbers:
        return [table_request(paper, number, study, dataset, out, folder) for number in numbers]
    if folder and not (study or dataset):
        raise ValueError("runs: all tables of a paper take several studies; leave it out, or give tables or a study")
    requests, reasons = [], []
    for number in table_numbers(paper):
        layout = table_layout(paper, number)
        for each in [dataset] if dataset or study else [name or None for name in layout.studies]:
            try:
                request = table_request(paper, number, study, each, out, folder)
                check_request(request)
            except ValueError as error:
                reasons.append(error)
            else:
                requests.append(request)
    if reasons and not (requests and (study or dataset)):
        raise reasons[0]
    return requests


def _train_all(
    jobs: Sequence[Job], durations: Durations, settings: Any, budget: float | None, workers: Workers
) -> Iterator[Sequence[Job]]:
    """Trains jobs within a budget in seconds; yields those that are left, at first all of them."""
    deadline = time.monotonic() + (math.inf if budget is None else budget)
    yield jobs
    left: Sequence[Job] = jobs
    for left in (_side_by_side if workers.apart else _in_turn)(jobs, durations, settings, deadline, workers):
        yield left
    if left:
        logger.info("the budget is spent; the same command goes on")
        logger.info("%s", "\n".join(plan_lines(left, durations)))


def _in_turn(
    jobs: Sequence[Job], durations: Durations, settings: Any, deadline: float, workers: Workers
) -> Iterator[Sequence[Job]]:
    """`_train_all`, one after another in this process."""
    vectors: Vectors = {}
    for i, job in enumerate(jobs):
        estimate = durations.estimate(job)
        about = f", about {clock(estimate)}" if estimate is not None else ""
        logger.info("%s (%d of %d%s)", job.name, i + 1, len(jobs), about)
        try:
            with durations.timed(job), time_limit(deadline - time.monotonic()):
                if job.baseline:
                    baselines.train_baseline(job.baseline, job.config, settings)
                else:
                    results_of(job.config, vectors)
            spent = time.monotonic() >= deadline
        except OutOfTimeError:
            spent = True
        yield jobs[i:] if not job.finished else jobs[i + 1 :]
        if spent:
            return


def _side_by_side(
    jobs: Sequence[Job], durations: Durations, settings: Any, deadline: float, workers: Workers
) -> Iterator[Sequence[Job]]:
    """`_train_all`, several at a time."""
    tasks: dict[Task, Job] = {}
    for job in jobs:
        if job.baseline:
            call, arguments = baselines.train_baseline, (job.baseline, job.config, settings)
        else:
            call, arguments = train, (job.config,)
        tasks[Task(job.name, job.config, call, arguments, shares_vectors=job.baseline is None)] = job
    every, left = [], list(jobs)
    for ended in run_tasks(list(tasks), workers, deadline):
        job = tasks[ended.task]
        durations.add(job, ended.seconds)
        every.append(ended)
        if not ended.failed:
            left.remove(job)
        yield left
    check_none_failed(every)


def _filled(request: TableRequest, seeds: Sequence[int], out: pathlib.Path) -> PaperTable:
    """The table with the figures of the finished runs, which is also written."""
    table = fill_table(request, seeds)
    write_whole(out / f"{request.stem}.json", table.to_json())
    write_whole(out / f"{request.stem}.md", table_markdown(table) + "\n")
    return table
