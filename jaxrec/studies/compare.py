"""Trains and evaluates several configs with several seeds, and joins their results in one table."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.config import Config
from jaxrec.evaluate.blending import RERANKED
from jaxrec.files import write_whole
from jaxrec.studies.comparison import Comparison, MethodRun
from jaxrec.studies.over_seeds import RowCollector, intervals_beside_baselines
from jaxrec.studies.run_folders import RESULTS, Vectors, results_of, run_folder, train
from jaxrec.studies.text_comparison import TextRowCollector
from jaxrec.studies.workers import IN_TURN, Task, Workers, finish
from jaxrec.system import run as runs
from jaxrec.system.run import command
from jaxrec.system.system import method_name

MEASURED_ON = ("dataset", "protocol", "part", "n_items", "mask_seen")
"""Keys of results.json that all runs of a table must agree on."""


def compare_configs(
    study: Mapping[str, Config], seeds: Sequence[int], folder: pathlib.Path, workers: Workers = IN_TURN
) -> Comparison:
    """Trains and measures every config with every seed, unless its folder holds the results, and joins their rows.

    The table has all rows of the first config; of the others it has the main row, that of its blend with counts, and
    those that no other config has: the embedder's row, and baselines if the config is trained on other data than the
    first. Runs with equal vectors share them.

    Args:
      study: configs by the names of their rows.
      seeds: every config is run with each seed.
      folder: gets a folder NAME-SEED for each run, and the table as results.json.
      workers: how many runs are trained at a time, and where.
    Raises:
      ValueError: there are no seeds, a config contradicts itself or its folder, or two configs are measured on
        different data; or as of `jaxrec.studies.workers.finish`.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    configs = {(seed, name): _seeded(study[name], folder, name, seed) for seed in seeds for name in study}
    for config in configs.values():  # all of them, before hours of training
        runs.check_run(config)
    if workers.apart:
        tasks = [Task(f"{name}, seed {seed}", config, train, (config,)) for (seed, name), config in configs.items()]
        left = [task for task in tasks if not (task.config.folder / RESULTS).is_file()]
        finish(left, workers, finished=configs.values())
    collector, texts = RowCollector(), TextRowCollector()
    finished: dict[str, list[MethodRun]] = {}
    measured_on: dict[bool, dict[str, Any]] = {}  # by whether items are ranked, as the split differs
    baselines: dict[str, tuple] = {}
    of_baselines: set[str] = set()  # the blends among them
    vectors: Vectors = {}
    environment: dict[str, Any] = {}
    first = next(iter(study))
    blended: dict[str, str] = {}  # the row of a method's blend, or without one its own
    declined: dict[str, list[int]] = {}  # seeds without a re-ranker, by row
    for seed in seeds:
        for name in study:
            config = configs[seed, name]
            report = results_of(config, vectors)
            run = MethodRun(seed, report.get("seconds"), report.get("ms_per_user"), report.get("ids"))
            finished.setdefault(name, []).append(run)
            measured = {key: report[key] for key in MEASURED_ON}
            if (existing := measured_on.setdefault(bool(report["rows"]), measured)) != measured:
                raise ValueError(f"{name!r} is measured on {measured}, others on {existing}; one table can't hold both")
            environment = {key: report[key] for key in ("device", "versions")}
            method = method_name(config)
            texts.add(report, name, method, seed)
            of_blend = report.get("blend", {}).get("system", method)
            own = method, of_blend.removesuffix(RERANKED)
            blended[name] = name + of_blend.removeprefix(method)
            for system in _declined(report):
                row_name = name + system.removeprefix(method) if system.startswith(method) else system
                if seed not in declined.setdefault(row_name, []):
                    declined[row_name].append(seed)
            for row in report["rows"]:
                system = row["system"]
                if system.startswith(method):
                    if name != first and system.split(",")[0] not in own:
                        continue
                    system = name + system.removeprefix(method)
                elif (config.data, config.protocol) != (study[first].data, study[first].protocol):
                    system = f"{system} [{name}]"
                collector.add(system, seed, row, config.folder)
                if row.get("baseline"):
                    baselines.setdefault(system, (config.data, config.protocol))
                    of_baselines |= {system} if row.get("blended") else set()
    intervals = []
    for name, config in study.items():
        rivals = [system for system, data in baselines.items() if data == (config.data, config.protocol)]
        systems = [system for system in dict.fromkeys((name, blended[name])) if system in collector.rank_files]
        own_users = config.data.path is None  # each seed generates a world
        intervals += intervals_beside_baselines(
            systems, rivals, collector.rank_files, blended=of_baselines, own_users=own_users
        )
    comparison = Comparison(
        command=command(),
        seeds=tuple(seeds),
        **(measured_on.get(True) or measured_on[False]),
        **environment,
        rows=collector.rows(),
        intervals=tuple(intervals),
        runs={name: tuple(by_seed) for name, by_seed in finished.items()},
        texts=texts.rows(),
        declined={name: tuple(seeds) for name, seeds in declined.items()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "results.json", comparison.to_json())
    return comparison


def _declined(report: Mapping[str, Any]) -> list[str]:
    """Rows of a results.json that are called re-ranked and are not, as cross-validation found nothing better."""
    blends = [report[key] for key in ("blend", "blend_of_baselines") if key in report]
    return [blend["system"] for blend in blends if blend["system"].endswith(RERANKED) and not blend.get("reranker")]


def _seeded(config: Config, folder: pathlib.Path, name: str, seed: int) -> Config:
    """A row's config with a seed and the folder of that run."""
    return dataclasses.replace(config, seed=seed, out=str(run_folder(folder, name, seed)))
