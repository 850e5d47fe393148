"""Trains what a paper's table needs and fills it in: ours by seed, theirs as printed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxrec.config import Config, EvalConfig, data_file, load_study
from jaxrec.methods import baselines
from jaxrec.methods import run as runs
from jaxrec.methods.baselines import BASELINES, Settings
from jaxrec.methods.compare import results_of, run_folder, spread
from jaxrec.methods.paper_tables.contradictions import contradictions
from jaxrec.methods.paper_tables.finished import Finished, read_baseline, read_run
from jaxrec.methods.paper_tables.lines import markdown
from jaxrec.methods.paper_tables.rows import Layout, Source, layout
from jaxrec.methods.run import command, write_whole


@dataclasses.dataclass(frozen=True)
class Asked:
    """A table that is wanted, and with what.

    Attributes:
      layout: its form.
      study: configs by the names of rows.
      beside: the paper's dataset whose figures stand beside ours.
      folder: holds a folder NAME-SEED for each run.
      stem: of the files that get the table.
    """

    layout: Layout
    study: Mapping[str, Config]
    beside: str
    folder: pathlib.Path
    stem: str

    @property
    def base(self) -> Config:
        """The study's first, whose data and protocol baselines take."""
        return next(iter(self.study.values()))

    @property
    def sources(self) -> list[Source]:
        """What the table is made of, each run and baseline once, in the order of its rows."""
        found = {}
        for source in self.layout.sources.values():
            found.setdefault((source.run, source.baseline), source)
        return [s for (run, baseline), s in found.items() if baseline or (run and (run in self.study or not s.trained))]

    def config(self, source: Source, seed: int) -> Config | None:
        """Of a run or baseline; None where the study has none for it."""
        if source.baseline:
            name, base = source.baseline, self.base
            config = Config(name=name, data=base.data, protocol=base.protocol)
            config = dataclasses.replace(config, eval=EvalConfig(mask_seen=base.eval.mask_seen))
        else:
            name = source.run or ""
            if name not in self.study:
                return None
            config = self.study[name]
        return dataclasses.replace(config, seed=seed, out=str(run_folder(self.folder, name, seed)))


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
      "settings" and more; `jaxrec.methods.paper_tables.lines` makes text of it.
    Raises:
      ValueError: a number, dataset, study, seed or config is wrong, or a folder holds a run of another config.
    """
    for name, values in (("tables", numbers), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name} {' '.join(map(str, values)) or '(none)'}: give at least one, each once")
    asked = [_asked(layout(paper, number), study, dataset, out, folder) for number in numbers]
    for one in asked:
        _check(one)
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
                    baselines.train(source.baseline, config, settings)
                elif config and source.trained:
                    results_of(config, vectors)
        found = fill(one, seeds)
        write_whole(out / f"{one.stem}.json", json.dumps(found, indent=1) + "\n")
        write_whole(out / f"{one.stem}.md", markdown(found) + "\n")
        yield found


def _asked(
    form: Layout, study: str | None, dataset: str | None, out: pathlib.Path, folder: pathlib.Path | None
) -> Asked:
    """Finds the study of a table."""
    wanted = form.beside("", dataset) if dataset else None
    if study is None:
        name = form.studies.get(wanted, form.studies.get("")) if wanted else next(iter(form.studies.values()))
        if name is None:
            known = ", ".join(form.studies)
            raise ValueError(f"dataset {dataset!r}: {form.published.name} has a study for {known} alone; give --study")
        study = f"configs/{name}"
    configs = load_study(study)
    beside = form.beside(next(iter(configs.values())).data.name, dataset)
    stem = f"{form.published.paper.upper()}-{form.published.number}"
    stem += f"-{beside}" if len(form.studies) > 1 else ""
    return Asked(form, configs, beside, folder or out / pathlib.Path(study).stem, stem)


def _check(asked: Asked) -> None:
    """Looks at a table and its study before anything is trained.

    Raises:
      ValueError: the study has no row of the table, none is asked what the table shows, or its rows are of several
        datasets.
    """
    name, form = asked.layout.published.name, asked.layout
    configs = {s.run: config for s in asked.sources if s.run and (config := asked.study.get(s.run))}
    wanted = dict.fromkeys(s.run for s in form.sources.values() if s.run)
    if wanted and not configs and not any(s.baseline for s in asked.sources):
        raise ValueError(f"study: it has no row of {name} ({', '.join(wanted)}); its rows: {', '.join(asked.study)}")
    data = {(c.data.name, c.protocol) for c in (*configs.values(), asked.base)}
    if len(data) > 1:
        raise ValueError(f"study: one table can't hold several data or protocols, {name} has {sorted(data)}")
    missing = [
        _lacks(configs[s.run], s, m) for s in form.sources.values() if s.run in configs for m in form.measures.values()
    ]
    if missing and all(missing) and not any(s.baseline for s in asked.sources):
        raise ValueError(f"study: {name} can't be filled, no row's config has {missing[0]}; give another --study")


def _lacks(config: Config, source: Source, measure: str) -> str:
    """What a config would have to ask for a figure; "" where it does."""
    tasks = config.task.tasks
    if "direct" not in tasks and ("user id only" in source.system or "user id only" in measure):
        return "task.tasks direct"
    if "/" in measure and (task := measure.removeprefix("ms/").split("/")[0]) not in tasks:
        return f"task.tasks {task}"
    if "unseen users" in measure and not config.data.unseen_users:
        return "data.unseen_users above 0"
    if "unseen prompt" in source.system and config.eval.prompt != "both":
        return "eval.prompt both"
    return ""


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
        "users": sorted({n for _, n in users if n}),
        "rows": rows,
        "notes": [[_joined(who), note] for note, who in notes.items()],
        "settings": _settings(asked, results),
        "lists": sorted({one.listed for one in shown if one.listed}),
        "printed": [note for dataset, note in theirs.notes if dataset in ("", asked.beside)],
        "contradictions": {row: found for row, found in impossible.items() if found},
    }


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
            told.append(f"{column} {spread(values)}")
    return ", ".join(told)


def _accelerate(rows: Sequence[dict[str, Any]]) -> None:
    """TokenRec, table 5: the rivals' mean time over ours, less one, in percent; of those that we have."""
    *others, ours, last = rows
    for column, cell in ours["cells"].items():
        rivals = [row["cells"][column]["ours"] for row in others if row["cells"][column]["ours"]]
        if rivals and cell["ours"]:
            mean = [sum(values) / len(values) for values in (*rivals, cell["ours"])]
            last["cells"][column]["ours"] = [100 * (sum(mean[:-1]) / len(rivals) / mean[-1] - 1)]
