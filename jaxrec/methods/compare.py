"""Several runs as one table: methods, ablations and seeds, each trained by its config or taken from its folder."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.config import Config
from jaxrec.evaluate.ranking import CUTOFFS
from jaxrec.methods import experiment
from jaxrec.methods import run as runs
from jaxrec.methods.run import command, write_whole
from jaxrec.methods.system import method_name

OF_A_RUN = ("seed", "seconds", "ms_per_user", "ids")
METRICS = tuple(f"{metric}@{k}" for k in CUTOFFS if k > 5 for metric in ("hr", "ndcg"))


def compare(study: Mapping[str, Config], seeds: Sequence[int], folder: pathlib.Path) -> dict[str, Any]:
    """Trains and measures every config with every seed, unless its folder holds the results, and joins their rows.

    The first config's rows are all shown, of the others the main one and what no other has (their embedder's row, and
    baselines where the config learns from other data than the first).
    Runs that ask for the same vectors share them.

    Args:
      study: configs by what their rows are called.
      seeds: each config is run with each.
      folder: gets a folder NAME-SEED for each run, and the table as results.json.
    Returns:
      what results.json holds: "rows", each with a list of values by seed for every metric, and what is known of
      each run.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    kept: dict[str, dict[str, list[Any]]] = {}
    about: dict[str, Any] = {}
    vectors: dict[tuple, pathlib.Path] = {}
    first = next(iter(study.values()))
    for seed in seeds:
        for name, config in study.items():
            config = dataclasses.replace(config, seed=seed, out=str(run_folder(folder, name, seed)))
            found = _results(config, vectors)
            about.setdefault(name, []).append({key: found.get(key) for key in OF_A_RUN})
            data = {key: found[key] for key in ("dataset", "protocol", "part", "n_items", "mask_seen")}
            if about.setdefault("data", data) != data:
                raise ValueError(
                    f"{name!r} is measured on {data}, others on {about['data']}; one table can't hold both"
                )
            about["made on"] = {key: found[key] for key in ("device", "versions")}
            for row in found["rows"]:
                system, own = row["system"], method_name(config)
                if system.startswith(own):
                    if name != next(iter(study)) and system.split(",")[0] != own:
                        continue
                    system = name + system.removeprefix(own)
                elif (config.data, config.protocol) != (first.data, first.protocol):
                    system = f"{system} [{name}]"
                seen = kept.setdefault(system, {})
                seen.setdefault("seeds", [])
                if seed in seen["seeds"]:
                    continue
                for metric in (*METRICS, "n_users"):
                    seen.setdefault(metric, []).append(row.get(metric))
                seen["seeds"].append(seed)
    rows = [{"system": system, **values} for system, values in kept.items()]
    joined = {"command": command(), "seeds": list(seeds), **about.pop("data"), **about.pop("made on")}
    joined |= {"rows": rows, "runs": about}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "results.json", json.dumps(joined, indent=1) + "\n")
    return joined


def _results(config: Config, vectors: dict[tuple, pathlib.Path]) -> dict[str, Any]:
    """A run's results, made unless they are there; its vectors are taken from a run that asked for the same."""
    data = (config.data, config.protocol, config.seed, config.embedder)
    asked = (*data, *((config.walks, config.skipgram) if config.embedder == "walks" else (config.lightgcn,)))
    runs.check(config)
    mine = config.folder / "vectors.npz"
    if asked in vectors and not mine.is_file():
        config.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(vectors[asked], mine.with_suffix(".part"))
        mine.with_suffix(".part").replace(mine)
    file = config.folder / "results.json"
    found = json.loads(file.read_text()) if file.is_file() else experiment.train(config)[1]
    vectors.setdefault(asked, mine)
    return found


def table(joined: dict[str, Any]) -> str:
    """The rows as aligned lines, mean and, over several seeds, standard deviation."""
    masked = "seen items left out" if joined["mask_seen"] else "seen items kept"
    seeds = ", ".join(map(str, joined["seeds"]))
    lines = [
        f"{joined['dataset']}, {joined['protocol']} protocol, {joined['part']} part, seeds {seeds}: "
        f"all {joined['n_items']:,} items ranked, {masked}, ties count half"
    ]
    width = max(len("system"), *(len(row["system"]) for row in joined["rows"]))
    lines.append(f"{'system':<{width}}" + "".join(f"{m.upper():>16}" for m in METRICS) + f"{'users':>9}")
    for row in joined["rows"]:
        cells = "".join(f"{_spread(row[metric]):>16}" for metric in METRICS)
        lines.append(f"{row['system']:<{width}}{cells}{max(row['n_users']):>9,}")
    for name, made in joined["runs"].items():
        times = [run["ms_per_user"] for run in made if run["ms_per_user"]]
        if times:
            lines.append(f"{name}: {statistics.median(times):.2f} ms per user for a list of ten")
    return "\n".join(lines)


def _spread(values: Sequence[float | None]) -> str:
    values = [value for value in values if value is not None]  # lists from few beams end before the cutoff
    if not values:
        return "-"
    mean = statistics.mean(values)
    return f"{mean:.4f}" if len(values) < 2 else f"{mean:.4f} ± {statistics.stdev(values):.4f}"


def run_folder(folder: pathlib.Path, name: str, seed: int) -> pathlib.Path:
    """Where a study keeps one of its runs."""
    return folder / f"{''.join(c if c.isalnum() else '_' for c in name.lower())}-{seed}"
