"""Several runs as one table: methods, ablations and seeds, each trained by its config or taken from its folder."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec import experiment
from jaxrec.config import Config
from jaxrec.embedders.registry import embedder
from jaxrec.evaluate.ranking import CUTOFFS, user_values
from jaxrec.evaluate.report import COMPARED, against_best, below
from jaxrec.files import whole_file, write_whole
from jaxrec.studies import text_rows as compare_texts
from jaxrec.system import run as runs
from jaxrec.system.run import command
from jaxrec.system.system import method_name

OF_A_RUN = ("seed", "seconds", "ms_per_user", "ids")
Ranks = Sequence[tuple[pathlib.Path, str]]
"""Where a row's ranks are, seed by seed: the folder that holds ranks.npz, and the system's name in it."""
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
      what results.json holds: "rows", each with a list of values by seed for every metric; "intervals" of the main
      rows beside the best baseline of their data; and what is known of each run.
    """
    if not seeds:
        raise ValueError("seeds holds none; give at least one: --seeds 0")
    for name, config in study.items():  # all of them, before hours of training
        for seed in seeds:
            runs.check(dataclasses.replace(config, seed=seed, out=str(run_folder(folder, name, seed))))
    kept: dict[str, dict[str, list[Any]]] = {}
    about: dict[str, Any] = {}
    vectors: dict[tuple, pathlib.Path] = {}
    ranks: dict[str, list[tuple[pathlib.Path, str]]] = {}
    baselines: dict[str, tuple] = {}
    texts: compare_texts.Joined = {}
    first = next(iter(study.values()))
    for seed in seeds:
        for name, config in study.items():
            config = dataclasses.replace(config, seed=seed, out=str(run_folder(folder, name, seed)))
            found = results_of(config, vectors)
            about.setdefault(name, []).append({key: found.get(key) for key in OF_A_RUN})
            data = {key: found[key] for key in ("dataset", "protocol", "part", "n_items", "mask_seen")}
            kind = "data" if found["rows"] else "data of texts"  # which have a split of their own
            if about.setdefault(kind, data) != data:
                raise ValueError(f"{name!r} is measured on {data}, others on {about[kind]}; one table can't hold both")
            about["made on"] = {key: found[key] for key in ("device", "versions")}
            compare_texts.join(texts, found, name, method_name(config), seed)
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
                for metric in (*METRICS, "n_users", "ties"):
                    seen.setdefault(metric, []).append(row.get(metric))
                seen["seeds"].append(seed)
                ranks.setdefault(system, []).append((config.folder, row["system"]))
                if row.get("baseline"):
                    baselines[system] = config.data, config.protocol
    rows = [{"system": system, **values} for system, values in kept.items()]
    of_texts = about.pop("data of texts", {})
    joined = {"command": command(), "seeds": list(seeds), **about.pop("data", of_texts), **about.pop("made on")}
    intervals = []
    for name, config in study.items():
        rivals = [b for b, measured_on in baselines.items() if measured_on == (config.data, config.protocol)]
        intervals += beside_baselines([name] if name in ranks else [], rivals, ranks, worlds=config.data.path is None)
    joined |= {"rows": rows, "intervals": intervals, "runs": about}
    if texts:
        joined["texts"] = list(texts.values())
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "results.json", json.dumps(joined, indent=1) + "\n")
    return joined


def share_vectors(config: Config, vectors: dict[tuple, pathlib.Path]) -> Callable[[], None]:
    """Puts vectors into a run's folder where another run made them, unless it has its own.

    Args:
      config: of the run.
      vectors: files by all that they depend on; what was made by now.
    Returns:
      a function to call once the run's own vectors are there, which notes them in `vectors`.
    """
    # What is asked decides what is held back: a leave-one-out split, one of events, or both.
    asked_of = bool(config.task.ranking), bool(config.task.writing)
    data = (config.data, config.protocol, config.seed, config.embedder, asked_of)
    asked = (*data, embedder(config.embedder).settings(config))
    mine = config.folder / "vectors.npz"
    if asked in vectors and not mine.is_file():
        config.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(mine) as part:
            shutil.copy(vectors[asked], part)

    def note() -> None:
        if mine.is_file():
            vectors.setdefault(asked, mine)

    return note


def results_of(config: Config, vectors: dict[tuple, pathlib.Path]) -> dict[str, Any]:
    """A run's results, made unless they are there; its vectors are taken from a run that asked for the same."""
    runs.check(config)
    note = share_vectors(config, vectors)
    file = config.folder / "results.json"
    found = json.loads(file.read_text()) if file.is_file() else experiment.train(config)[1]
    note()
    return found


def beside_baselines(
    systems: Sequence[str], baselines: Sequence[str], ranks: Mapping[str, Ranks], *, worlds: bool = False
) -> list[dict[str, Any]]:
    """Intervals of systems beside the best of some baselines, by each user's mean over the seeds.

    Args:
      systems: rows of the table.
      baselines: rows of the table, measured on the same items.
      ranks: of each row; who has no ranks.npz for each seed is left out.
      worlds: whether each seed generates a world of its own, whose users are others; they stand side by side then.
    """
    values = {name: over_seeds(ranks[name], worlds) for name in {*systems, *baselines}}
    held = {name: found for name in baselines if (found := values[name])}
    return [found for name in systems if (ours := values[name]) for found in against_best(name, ours, held)]


def over_seeds(ranks: Ranks, worlds: bool) -> dict[str, np.ndarray] | None:
    """By metric, what each user adds to it, f64[U]; None where a seed's ranks are not there, or are of other users."""
    found = []
    for folder, system in ranks:
        file = folder / "ranks.npz"
        if not file.is_file():
            return None
        with np.load(file) as arrays:
            if system not in arrays:
                return None
            found.append(arrays[system])
    if worlds:
        return {metric: np.concatenate([user_values(seed, metric) for seed in found]) for metric in COMPARED}
    if len({seed.shape for seed in found}) > 1:
        return None
    return {metric: np.mean([user_values(seed, metric) for seed in found], axis=0) for metric in COMPARED}


def table(joined: dict[str, Any]) -> str:
    """The rows as aligned lines, mean and, over several seeds, standard deviation."""
    masked = "seen items left out" if joined["mask_seen"] else "seen items kept"
    seeds = ", ".join(map(str, joined["seeds"]))
    head = f"{joined['dataset']}, {joined['protocol']} protocol, {joined['part']} part, seeds {seeds}"
    texts = compare_texts.lines(joined.get("texts", ()))
    if not joined["rows"]:
        return "\n".join([head, *texts])
    lines = [f"{head}: all {joined['n_items']:,} items ranked, {masked}, ties count half"]
    width = max(len("system"), *(len(row["system"]) for row in joined["rows"]))
    lines.append(f"{'system':<{width}}" + "".join(f"{m.upper():>16}" for m in METRICS) + f"{'users':>9}")
    for row in joined["rows"]:
        cells = "".join(f"{spread(row[metric]):>16}" for metric in METRICS)
        lines.append(f"{row['system']:<{width}}{cells}{max(row['n_users']):>9,}")
    for name, made in joined["runs"].items():
        times = [run["ms_per_user"] for run in made if run["ms_per_user"]]
        if times:
            lines.append(f"{name}: {statistics.median(times):.2f} ms per user for a list of ten")
    rows = [{"system": row["system"], "ties": _mean_ties(row.get("ties") or [None])} for row in joined["rows"]]
    return "\n".join([*lines, *below(rows, joined.get("intervals", ())), *texts])


def _mean_ties(ties: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """`Result.row`'s "ties", each number's mean over the seeds; None where ties change nothing with some seed."""
    known = [one for one in ties if one]
    if len(known) < len(ties):
        return None
    mean: dict[str, Any] = {"share": statistics.mean(one["share"] for one in known)}
    for order in ("optimistic", "expected", "pessimistic"):
        mean[order] = {m: statistics.mean(one[order][m] for one in known) for m in known[0][order]}
    return mean


def spread(values: Sequence[float | None]) -> str:
    """Mean and, of several values, standard deviation."""
    values = [value for value in values if value is not None]  # lists from few beams end before the cutoff
    if not values:
        return "-"
    mean = statistics.mean(values)
    return f"{mean:.4f}" if len(values) < 2 else f"{mean:.4f} ± {statistics.stdev(values):.4f}"


def run_folder(folder: pathlib.Path, name: str, seed: int) -> pathlib.Path:
    """Where a study keeps one of its runs."""
    return folder / f"{''.join(c if c.isalnum() else '_' for c in name.lower())}-{seed}"
