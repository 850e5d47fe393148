"""Trains and evaluates baselines on a config's split, over several seeds."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any, Literal

from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.baselines.registry import BASELINES, check_baselines, obstacle, settings_of
from jaxrec.config import Config, ModelConfig, TaskConfig
from jaxrec.config.limits import check_limits
from jaxrec.evaluate.full_ranking import Result, evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.evaluate.results_file import results_report, write_results
from jaxrec.files import read_kept, write_whole
from jaxrec.studies.compare import MEASURED_ON
from jaxrec.studies.comparison import BaselineRun, Comparison
from jaxrec.studies.over_seeds import RowCollector, intervals_beside_baselines
from jaxrec.studies.run_folders import run_folder
from jaxrec.studies.workers import IN_TURN, Task, Workers, finish
from jaxrec.system import run as runs
from jaxrec.system.run import command

Part = Literal["valid", "test"]
REMEDY = "put it back, or delete it: the same command makes it again"


def train_baseline(name: str, config: Config, settings: Any, *, part: Part = "test") -> dict[str, Any]:
    """Trains one baseline in the config's folder (or resumes its training) and evaluates it.

    Args:
      name: one of `BASELINES`.
      config: only its data, seed, protocol, mask_seen and folder are used.
      settings: `baselines.registry.Settings`, of all baselines; only this one's are used.
      part: which held-out items are ranked.
    Returns:
      the content of results.json: rows of the baseline, popularity, item-kNN and transitions; "settings"; and
      "validation", the metrics by which the weights were selected. If the folder has the file, it is returned.
    Raises:
      ValueError: the name is unknown, the protocol is not strict, the data lacks item attributes that the baseline
        needs, or the folder holds a run of other settings.
    """
    check_baselines([name])
    check_limits(settings_of(name, settings), name)
    if reason := obstacle(name, config.data):
        raise ValueError(reason)
    if config.protocol != "strict":
        raise ValueError(f"protocol {config.protocol!r}: baselines learn from the training part alone; take strict")
    config = dataclasses.replace(config, task=TaskConfig(tasks=("sequential",)))  # split leave-one-out
    if config.answer == "both":  # which wants another task, and a model that baselines don't have
        config = dataclasses.replace(config, answer="id", model=ModelConfig())
    runs.check_run(config)
    baseline, own_settings = BASELINES[name], settings_of(name, settings)
    file = config.folder / part / "results.json"
    _write_settings(config.folder, name, own_settings)
    if file.is_file():
        return read_kept(file, "json", REMEDY)
    started = time.monotonic()
    run = runs.start(config)
    mask_seen = config.eval.mask_seen

    def measure(measured_part: Part) -> Result:
        run.say(f"{baseline.title}: ranking the {measured_part} items of all users")
        return evaluate_scores(baseline.title, score, run.split, measured_part, mask_seen=mask_seen)

    run.say(f"{baseline.title}: training on {run.split.train.n_events:,} events")
    score = baseline.train(own_settings, run.split, config.seed, config.folder / name)
    validation = measure("valid")
    result = validation if part == "valid" else measure(part)
    results = [result, *evaluate_baselines(run.split, part, mask_seen=mask_seen)]
    report = results_report(
        results,
        run.split,
        part,
        dataset=config.data.name,
        seed=config.seed,
        mask_seen=mask_seen,
        command=command(),
        # The total duration of a resumed training is unknown.
        seconds=time.monotonic() - started if run.fresh else None,
    )
    report["settings"] = _as_json(dataclasses.asdict(own_settings))
    report["validation"] = metrics(validation.ranks, (10,))
    write_results(file.parent, report, results)
    return report


def compare_baselines(
    names: Sequence[str],
    config: Config,
    seeds: Sequence[int],
    folder: pathlib.Path,
    settings: Any,
    *,
    part: Part = "test",
    workers: Workers = IN_TURN,
) -> Comparison:
    """Trains and measures every named baseline with every seed, unless its folder holds the results, and joins them.

    Args:
      names: some of `BASELINES`.
      config: see `train_baseline`; its seed and folder are replaced.
      seeds: every baseline is trained with each seed.
      folder: gets a folder NAME-SEED for each run, and the table as results.json (of validation items: valid.json).
      settings: of all baselines.
      part: which held-out items are ranked.
      workers: how many baselines are trained at a time, and where.
    Returns:
      the table, whose runs are `BaselineRun`s.
    Raises:
      ValueError: no seed or no name is given, a name is unknown or given twice, or the data lacks item attributes that
        a baseline needs.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    check_baselines(names)
    for name in names:
        check_limits(settings_of(name, settings), name)
        if reason := obstacle(name, config.data):
            raise ValueError(reason)
    if workers.apart:
        tasks = []
        for seed in seeds:
            for name in names:
                seeded = dataclasses.replace(config, seed=seed, out=str(run_folder(folder, name, seed)))
                if not (seeded.folder / part / "results.json").is_file():
                    title = f"{BASELINES[name].title}, seed {seed}"
                    call = functools.partial(train_baseline, part=part)
                    tasks.append(Task(title, seeded, call, (name, seeded, settings), shares_vectors=False))
        finish(tasks, workers)
    collector = RowCollector()
    finished: dict[str, list[BaselineRun]] = {BASELINES[name].title: [] for name in names}
    report: dict[str, Any] = {}
    for seed in seeds:
        for name in names:
            out = run_folder(folder, name, seed)
            report = train_baseline(name, dataclasses.replace(config, seed=seed, out=str(out)), settings, part=part)
            run = BaselineRun(seed, report.get("seconds"), None, report["validation"], report["settings"])
            finished[BASELINES[name].title].append(run)
            for row in report["rows"]:
                collector.add(row["system"], seed, row, out / part)
    counted = [system for system in collector.rank_files if system not in finished]
    intervals = intervals_beside_baselines(
        list(finished), counted, collector.rank_files, own_users=config.data.path is None
    )
    comparison = Comparison(
        command=command(),
        seeds=tuple(seeds),
        **{key: report[key] for key in (*MEASURED_ON, "device", "versions")},
        rows=collector.rows(first=list(finished)),
        intervals=tuple(intervals),
        runs={title: tuple(by_seed) for title, by_seed in finished.items()},
    )
    write_whole(folder / ("results.json" if part == "test" else f"{part}.json"), comparison.to_json())
    return comparison


def _write_settings(folder: pathlib.Path, name: str, settings: Any) -> None:
    """Writes a baseline's settings into its run's folder.

    Raises:
      ValueError: the folder holds a run of other settings, whose checkpoints don't fit.
    """
    file = folder / "settings.json"
    expected = _as_json({name: dataclasses.asdict(settings)})
    if file.is_file() and (existing := read_kept(file, "json", REMEDY)) != expected:
        existing_settings = existing.get(name, {})
        differing = sorted(field for field, value in expected[name].items() if existing_settings.get(field) != value)
        raise ValueError(
            f"{folder} holds a baseline of other settings ({', '.join(differing)} differ); "
            "give --out another folder, or delete this one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(expected, indent=1) + "\n")


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    """Values as read back from a JSON file: tuples become lists."""
    return json.loads(json.dumps(values))
