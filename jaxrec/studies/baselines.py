"""Baselines that learn: each trained by its settings on a config's split, measured, and joined over seeds."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any, Literal

from jaxrec.baselines.counted import evaluate_baselines
from jaxrec.baselines.registry import BASELINES, Settings, check
from jaxrec.config import Config, TaskConfig
from jaxrec.evaluate.evaluate import Result, evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.evaluate.report import report, write
from jaxrec.files import write_whole
from jaxrec.studies.compare import METRICS, beside_baselines, run_folder
from jaxrec.system import run as runs
from jaxrec.system.run import command

Part = Literal["valid", "test"]


def train(name: str, config: Config, settings: Settings, *, part: Part = "test") -> dict[str, Any]:
    """Trains one baseline in the config's folder, or goes on with it, and measures it beside those without learning.

    Args:
      name: one of `BASELINES`.
      config: its data, seed, protocol, mask_seen and folder are read; what it says of methods and tasks is not.
      settings: of all baselines; only this one's count.
      part: which held-out items are ranked.
    Returns:
      What results.json holds: rows of the baseline, popularity, item-kNN and transitions; "settings"; and "validation",
      the metrics by which the weights were selected. A folder that holds it already is not measured again.
    Raises:
      ValueError: the name is unknown, the protocol is not strict, or the folder holds a run of other settings.
    """
    check([name])
    if config.protocol != "strict":
        raise ValueError(f"protocol {config.protocol!r}: baselines learn from the training part alone; take strict")
    config = dataclasses.replace(config, task=TaskConfig(tasks=("sequential",)))  # split leave-one-out
    runs.check(config)
    baseline, own = BASELINES[name], getattr(settings, name)
    file = config.folder / part / "results.json"
    _keep_to(config.folder, name, own)
    if file.is_file():
        return json.loads(file.read_text())
    started = time.monotonic()
    run = runs.start(config)
    mask_seen = config.eval.mask_seen

    def measure(which: Part) -> Result:
        run.say(f"{baseline.title}: ranking the {which} items of all users")
        return evaluate_scores(baseline.title, score, run.split, which, mask_seen=mask_seen)

    run.say(f"{baseline.title}: training on {run.split.train.n_events:,} events")
    score = baseline.train(own, run.split, config.seed, config.folder / name)
    selected = measure("valid")
    result = selected if part == "valid" else measure(part)
    results = [result, *evaluate_baselines(run.split, part, mask_seen=mask_seen)]
    found = report(
        results,
        run.split,
        part,
        dataset=config.data.name,
        seed=config.seed,
        mask_seen=mask_seen,
        command=command(),
        # A call that went on with an older one's work doesn't know how long that took.
        seconds=time.monotonic() - started if run.fresh else None,
    )
    settings_read = json.loads(json.dumps(dataclasses.asdict(own)))  # as it comes back from the file
    found |= {"settings": settings_read, "validation": metrics(selected.ranks, (10,))}
    write(file.parent, found, results)
    return found


def compare(
    names: Sequence[str],
    config: Config,
    seeds: Sequence[int],
    folder: pathlib.Path,
    settings: Settings,
    *,
    part: Part = "test",
) -> dict[str, Any]:
    """Trains and measures every named baseline with every seed, unless its folder holds the results, and joins them.

    Args:
      names: some of `BASELINES`.
      config: see `train`; its seed and folder are replaced.
      seeds: each baseline is trained with each.
      folder: gets a folder NAME-SEED for each run, and the table as results.json (of validation items: valid.json).
      settings: of all baselines.
      part: which held-out items are ranked.
    Returns:
      What results.json holds; `jaxrec.studies.compare.table` makes lines of it.
    Raises:
      ValueError: no seed or no name is given, or a name is unknown or given twice.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    check(names)
    rows: dict[str, dict[str, Any]] = {}
    ranks: dict[str, list[tuple[pathlib.Path, str]]] = {}
    about: dict[str, list[dict[str, Any]]] = {}
    found: dict[str, Any] = {}
    for seed in seeds:
        for name in names:
            here = run_folder(folder, name, seed)
            found = train(name, dataclasses.replace(config, seed=seed, out=str(here)), settings, part=part)
            made = {key: found.get(key) for key in ("seed", "seconds", "ms_per_user", "validation", "settings")}
            about.setdefault(BASELINES[name].title, []).append(made)
            for row in found["rows"]:
                kept = rows.setdefault(row["system"], {"seeds": []})
                if seed not in kept["seeds"]:
                    kept["seeds"].append(seed)
                    ranks.setdefault(row["system"], []).append((here / part, row["system"]))
                    for metric in (*METRICS, "n_users", "ties"):
                        kept.setdefault(metric, []).append(row.get(metric))
    plain = [system for system in rows if system not in about]
    intervals = beside_baselines(list(about), plain, ranks, worlds=config.data.path is None)
    own = [{"system": title} | rows.pop(title) for title in about]
    shared = ("dataset", "protocol", "part", "n_items", "mask_seen", "device", "versions")
    joined = {"command": command(), "seeds": list(seeds), **{key: found[key] for key in shared}}
    joined |= {"rows": own + [{"system": system} | row for system, row in rows.items()]}
    joined |= {"intervals": intervals, "runs": about}
    write_whole(folder / ("results.json" if part == "test" else f"{part}.json"), json.dumps(joined, indent=1) + "\n")
    return joined


def _keep_to(folder: pathlib.Path, name: str, own: Any) -> None:
    """Notes a run's settings in its folder; a folder with others is refused, as its checkpoints are theirs."""
    file = folder / "settings.json"
    wanted = json.loads(json.dumps({name: dataclasses.asdict(own)}))
    if file.is_file() and (found := json.loads(file.read_text())) != wanted:
        there = found.get(name, {})
        differing = sorted(n for n, value in wanted[name].items() if there.get(n) != value)
        raise ValueError(
            f"{folder} holds a baseline of other settings ({', '.join(differing)} differ); "
            "give --out another folder, or delete this one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(wanted, indent=1) + "\n")
