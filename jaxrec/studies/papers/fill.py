"""Fills a paper's table with the results in our run folders, and notes on missing ones."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.baselines.registry import BASELINES, obstacle
from jaxrec.studies.comparison import mean_and_deviation
from jaxrec.studies.papers.contradictions import find_contradictions
from jaxrec.studies.papers.intervals import table_intervals
from jaxrec.studies.papers.layout import Layout, Source
from jaxrec.studies.papers.paper_table import Cell, PaperTable, TableRow
from jaxrec.studies.papers.request import TableRequest
from jaxrec.studies.papers.run_results import RunResults, read_baseline, read_run
from jaxrec.studies.run_folders import run_folder
from jaxrec.system.run import command

SourceKey = tuple[str | None, str | None]
"""As `Source.key`."""
FROM_REPORT = ("dataset", "protocol", "part", "n_items", "mask_seen", "device", "versions")
"""Keys of results.json that a table copies from its first run."""


def fill_table(request: TableRequest, seeds: Sequence[int]) -> PaperTable:
    """The table with our figures of the finished runs."""
    layout, published = request.layout, request.layout.published
    results, reasons = _read_sources(request, seeds)
    printed = {row: by.get(request.paper_dataset, by.get("", {})) for row, by in published.rows.items()}
    notes: dict[str, list[str]] = {}
    rows: list[TableRow] = []
    sizes: set[tuple[str, int | None]] = set()
    for row, figures in printed.items():
        cells = {}
        for column in published.columns:
            source, measure = layout.cell_source(row, column)
            if layout.kind == "error" and row != request.paper_dataset:
                source = Source(note="not the data at hand")
            system = column if layout.across else row
            folder = run_folder(request.folder, source.run or "", seeds[0])
            for note in filter(None, (source.note.format(folder=folder), *reasons[source.key])):
                notes.setdefault(note, []).append(system)
            ours = []
            for result in results[source.key]:
                value = result.value(measure, source.system)
                if isinstance(value, str):
                    notes.setdefault(value, []).append(system if layout.across else f"{row}, {column}")
                else:
                    ours.append(value)
                    sizes.add((measure, result.n_users(measure, source.system)))
            cells[column] = Cell(tuple(ours), figures.get(column))
        rows.append(TableRow(row, cells))
    if layout.kind == "ranking":
        rows += _baseline_rows(layout, [results[source.key] for source in layout.sources.values() if source.run])
    if any(row.row == "Acceleration*" for row in rows):
        rows[-1] = _acceleration_row(rows)
    if greedy := _greedy_errors(layout, results):
        notes[f"of the mean star by the model's odds; of the likeliest, as the paper decodes: {greedy}"] = [
            "Rating, RMSE"
        ]
    finished_results = [result for by_seed in results.values() for result in by_seed]
    report = finished_results[0].report if finished_results else {}
    contradictions = {row: find_contradictions(list(by), list(by.values())) for row, by in printed.items() if by}
    about: dict[str, Any] = {"dataset": request.base.data.name, "protocol": request.base.protocol}
    return PaperTable(
        paper=published.paper,
        table=published.number,
        name=published.name,
        caption=published.caption,
        kind=layout.kind,
        first=published.first,
        columns=published.columns,
        beside=request.paper_dataset,
        command=command(),
        seeds=tuple(seeds),
        **about | {key: report[key] for key in FROM_REPORT if key in report},
        events=(report.get("texts") or {}).get("events"),
        users=tuple(sorted({n for _, n in sizes if n})),
        rows=tuple(rows),
        intervals=tuple(table_intervals(layout, lambda source: results[source.key], len(seeds))),
        notes=tuple((_joined_names(names), note) for note, names in notes.items()),
        settings=_settings(results),
        lists=tuple(sorted({result.list_length for result in finished_results if result.list_length})),
        printed=tuple(note for dataset, note in published.notes if dataset in ("", request.paper_dataset)),
        contradictions={row: tuple(columns) for row, columns in contradictions.items() if columns},
    )


def _read_sources(
    request: TableRequest, seeds: Sequence[int]
) -> tuple[dict[SourceKey, list[RunResults]], dict[SourceKey, list[str]]]:
    """Results by source and seed, and the reasons why some are missing or doubtful."""
    results: dict[SourceKey, list[RunResults]] = {Source().key: []}
    reasons: dict[SourceKey, list[str]] = {Source().key: []}
    in_study = {source.key for source in request.sources}
    for source in request.layout.sources.values():
        key = source.key
        if key in results:
            continue
        results[key], reasons[key] = [], []
        if key not in in_study:
            reasons[key].append("not in this study")
            continue
        if source.baseline and (reason := obstacle(source.baseline, request.base.data)):
            reasons[key].append(reason)
            continue
        absent = []
        for seed in seeds:
            config = request.config(source, seed)
            if source.baseline:
                assert config is not None
                outcome = read_baseline(pathlib.Path(config.folder), config)
            else:
                outcome = read_run(run_folder(request.folder, source.run or "", seed), config)
            if isinstance(outcome, RunResults):
                results[key].append(outcome)
                reasons[key] += [doubt for doubt in outcome.doubts if doubt not in reasons[key]]
            elif outcome:
                reasons[key].append(outcome)
            else:
                absent.append(seed)
        if absent:
            which = f" with seed {', '.join(map(str, absent))}" if len(absent) < len(seeds) else ""
            reasons[key].append(f"not run{which}")
    return results, reasons


def _baseline_rows(layout: Layout, results: Sequence[Sequence[RunResults]]) -> list[TableRow]:
    """Rows of the baselines in the first finished run that the paper's table lacks."""
    by_seed = next((some for some in results if some), ())
    rows = []
    for name in by_seed[0].baselines if by_seed else ():
        if "," in name or name in layout.sources:  # of some users alone: a column here
            continue
        cells = {}
        for column, measure in layout.measures.items():
            metric, _, users = measure.partition(", ")
            whole_name = name + (f", {users}" if users else "")
            values = [result.metric(whole_name, metric) for result in by_seed if whole_name in result.ranks]
            cells[column] = Cell(tuple(value for value in values if not isinstance(value, str)))
        rows.append(TableRow(name, cells))
    return rows


def _acceleration_row(rows: Sequence[TableRow]) -> TableRow:
    """TokenRec, table 5, last row: the mean time of the available rivals divided by ours, minus one, in percent."""
    *rivals, ours, last = rows
    cells = dict(last.cells)
    for column, cell in ours.cells.items():
        times = [sum(values) / len(values) for row in rivals if (values := row.cells[column].ours)]
        if times and cell.ours:
            acceleration = 100 * (sum(times) / len(times) / (sum(cell.ours) / len(cell.ours)) - 1)
            cells[column] = Cell((acceleration,), cells[column].paper)
    return TableRow(last.row, cells)


def _greedy_errors(layout: Layout, results: Mapping[SourceKey, Sequence[RunResults]]) -> str:
    """RMSE of the most likely star rating by system; "" if the table has no ratings."""
    errors = []
    for column, source in layout.sources.items() if layout.kind == "texts" else ():
        values = [error for result in results[source.key] if (error := result.greedy_rmse) is not None]
        if values:
            errors.append(f"{column} {mean_and_deviation(values)}")
    return ", ".join(errors)


def _settings(results: Mapping[SourceKey, Sequence[RunResults]]) -> tuple[tuple[str, str], ...]:
    """Names of the finished runs, with their model and training."""
    names: dict[str, list[str]] = {}
    for (run, baseline), by_seed in results.items():
        if by_seed:
            names.setdefault(by_seed[0].setting, []).append(run or BASELINES[baseline or ""].title)
    return tuple(("; ".join(runs), setting) for setting, runs in names.items())


def _joined_names(names: Sequence[str]) -> str:
    """The distinct names, joined; columns of the same row are merged as "ROW, A, B"."""
    columns: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        row, _, column = name.partition(", ")
        columns.setdefault(row, []).extend([column] if column else [])
    return "; ".join(", ".join([row, *some]) for row, some in columns.items())
