"""A table filled with what the folders of runs hold: ours by seed, theirs as printed, and notes on both."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.baselines.registry import BASELINES
from jaxrec.studies.comparison import mean_and_deviation
from jaxrec.studies.papers.asked import Asked
from jaxrec.studies.papers.contradictions import contradictions
from jaxrec.studies.papers.finished import Finished, read_baseline, read_run
from jaxrec.studies.papers.intervals import intervals
from jaxrec.studies.papers.rows import Layout, Source
from jaxrec.studies.run_folders import run_folder
from jaxrec.system.run import command


def fill(asked: Asked, seeds: Sequence[int]) -> dict[str, Any]:
    """The table with what the folders hold."""
    form, theirs = asked.layout, asked.layout.published
    results, reasons = _read(asked, seeds)
    printed = {row: by.get(asked.beside, by.get("", {})) for row, by in theirs.rows.items()}
    notes: dict[str, list[str]] = {}
    rows, users = [], set()
    for row, figures in printed.items():
        cells = {}
        for column in theirs.columns:
            source, measure = form.at(row, column)
            if form.kind == "error" and row != asked.beside:
                source = Source(note="not the data at hand")
            mine, who = [], column if form.across else row
            for note in filter(
                None, (source.note.format(folder=_folder(asked, source, seeds)), *reasons[_key(source)])
            ):
                notes.setdefault(note, []).append(who)
            for one in results[_key(source)]:
                value = one.value(measure, source.system)
                if isinstance(value, str):
                    notes.setdefault(value, []).append(f"{who}" if form.across else f"{row}, {column}")
                else:
                    mine.append(value)
                    users.add((measure, one.n_users(measure, source.system)))
            cells[column] = {"ours": mine, "paper": figures.get(column)}
        rows.append({"row": row, "cells": cells})
    if form.kind == "ranking":
        rows += _baselines(form, [results[_key(source)] for source in form.sources.values() if source.run])
    if any(row["row"] == "Acceleration*" for row in rows):
        _accelerate(rows)
    if greedy := _greedy(form, results):
        notes[f"of the mean star by the model's odds; of the likeliest, as the paper decodes: {greedy}"] = [
            "Rating, RMSE"
        ]
    shown = [one for several in results.values() for one in several]
    first = shown[0].found if shown else {}
    kept = ("dataset", "protocol", "part", "n_items", "mask_seen", "device", "versions")
    base = asked.base
    impossible = {row: contradictions(list(by), list(by.values())) for row, by in printed.items() if by}
    return {
        "paper": theirs.paper,
        "table": theirs.number,
        "name": theirs.name,
        "caption": theirs.caption,
        "kind": form.kind,
        "first": theirs.first,
        "columns": list(theirs.columns),
        "beside": asked.beside,
        "command": command(),
        "seeds": list(seeds),
        "dataset": base.data.name,
        "protocol": base.protocol,
        **{key: first[key] for key in kept if key in first},
        **({"events": first["texts"]["events"]} if "events" in first.get("texts", {}) else {}),
        "users": sorted({n for _, n in users if n}),
        "rows": rows,
        "intervals": intervals(form, lambda source: results[_key(source)], len(seeds)),
        "notes": [[_joined(who), note] for note, who in notes.items()],
        "settings": _settings(asked, results),
        "lists": sorted({one.listed for one in shown if one.listed}),
        "printed": [note for dataset, note in theirs.notes if dataset in ("", asked.beside)],
        "contradictions": {row: found for row, found in impossible.items() if found},
    }


def _baselines(form: Layout, results: Sequence[Sequence[Finished]]) -> list[dict[str, Any]]:
    """Rows of what stands beside the first runs that are there, and in none of the table's rows."""
    several = next((found for found in results if found), ())
    rows = []
    for name in several[0].baselines if several else ():
        if "," in name or name in form.sources:  # of some users alone: a column here
            continue
        cells = {}
        for column, measure in form.measures.items():
            metric, _, users = measure.partition(", ")
            whole = name + (f", {users}" if users else "")
            mine = [one.metric(whole, metric) for one in several if whole in one.ranks]
            cells[column] = {"ours": mine, "paper": None}
        rows.append({"row": name, "cells": cells})
    return rows


def _read(asked: Asked, seeds: Sequence[int]) -> tuple[dict[tuple, list[Finished]], dict[tuple, list[str]]]:
    """Results by source, seed by seed, and why some are not there."""
    results: dict[tuple, list[Finished]] = {_key(Source()): []}
    reasons: dict[tuple, list[str]] = {_key(Source()): []}
    known = {_key(s) for s in asked.sources}
    for source in asked.layout.sources.values():
        key = _key(source)
        if key in results:
            continue
        results[key], reasons[key] = [], []
        if key not in known:
            reasons[key].append("not in this study")
            continue
        absent = []
        for seed in seeds:
            config = asked.config(source, seed)
            if source.baseline:
                assert config is not None
                found = read_baseline(pathlib.Path(config.folder), config)
            else:
                found = read_run(run_folder(asked.folder, source.run or "", seed), config)
            if isinstance(found, Finished):
                results[key].append(found)
                reasons[key] += [doubt for doubt in found.doubts if doubt not in reasons[key]]
            elif found:
                reasons[key].append(found)
            else:
                absent.append(seed)
        if absent:
            some = f" with seed {', '.join(map(str, absent))}" if len(absent) < len(seeds) else ""
            reasons[key].append(f"not run{some}")
    return results, reasons


def _key(source: Source) -> tuple[str | None, str | None]:
    return source.run, source.baseline


def _folder(asked: Asked, source: Source, seeds: Sequence[int]) -> pathlib.Path:
    return run_folder(asked.folder, source.run or "", seeds[0])


def _joined(who: Sequence[str]) -> str:
    """Each once; of rows that miss some columns, "ROW, A, B"."""
    rows: dict[str, list[str]] = {}
    for one in dict.fromkeys(who):
        row, _, column = one.partition(", ")
        rows.setdefault(row, []).extend([column] if column else [])
    return "; ".join(", ".join([row, *columns]) for row, columns in rows.items())


def _settings(asked: Asked, results: Mapping[tuple, Sequence[Finished]]) -> list[list[str]]:
    """Model and training of the runs that are shown, and which they are."""
    found: dict[str, list[str]] = {}
    for (run, baseline), several in results.items():
        for one in several[:1]:
            found.setdefault(one.setting, []).append(run or BASELINES[baseline or ""].title)
    return [["; ".join(names), setting] for setting, names in found.items()]


def _greedy(form: Layout, results: Mapping[tuple, Sequence[Finished]]) -> str:
    """RMSE of the likeliest stars, system by system; "" where the table has no ratings."""
    told = []
    for column, source in form.sources.items() if form.kind == "texts" else ():
        values = [v for one in results[_key(source)] if (v := one.likeliest) is not None]
        if values:
            told.append(f"{column} {mean_and_deviation(values)}")
    return ", ".join(told)


def _accelerate(rows: Sequence[dict[str, Any]]) -> None:
    """TokenRec, table 5: the rivals' mean time over ours, less one, in percent; of those that we have."""
    *others, ours, last = rows
    for column, cell in ours["cells"].items():
        rivals = [row["cells"][column]["ours"] for row in others if row["cells"][column]["ours"]]
        if rivals and cell["ours"]:
            mean = [sum(values) / len(values) for values in (*rivals, cell["ours"])]
            last["cells"][column]["ours"] = [100 * (sum(mean[:-1]) / len(rivals) / mean[-1] - 1)]
