"""Baselines that learn: each trained by its settings on a config's split, measured, and joined over seeds."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from flax import nnx

from jaxrec.config import Config, LightGcnConfig, TaskConfig
from jaxrec.evaluate.baselines import Scorer
from jaxrec.evaluate.evaluate import Result, evaluate_baselines, evaluate_scores
from jaxrec.evaluate.ranking import metrics
from jaxrec.evaluate.report import report, write
from jaxrec.keys import stream
from jaxrec.methods import baselines_pairs as pairs
from jaxrec.methods import baselines_sequences as sequences
from jaxrec.methods import collaborative
from jaxrec.methods import run as runs
from jaxrec.methods.compare import METRICS, beside_baselines, run_folder
from jaxrec.methods.run import Run, command, write_whole
from jaxrec.models.bert4rec import Bert4Rec, Bert4RecConfig, cloze_loss
from jaxrec.models.caser import Caser, CaserConfig
from jaxrec.models.ease import EaseConfig
from jaxrec.models.gru4rec import Gru4Rec, Gru4RecConfig
from jaxrec.models.ncf import NcfConfig
from jaxrec.models.sasrec import SasRec, SasRecConfig
from jaxrec.models.sequences import SequenceConfig

Part = Literal["valid", "test"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How each baseline is built and trained."""

    mf: LightGcnConfig = dataclasses.field(default_factory=lambda: LightGcnConfig(layers=0))
    lightgcn: LightGcnConfig = dataclasses.field(default_factory=LightGcnConfig)
    ncf: NcfConfig = dataclasses.field(default_factory=NcfConfig)
    ease: EaseConfig = dataclasses.field(default_factory=EaseConfig)
    sasrec: SasRecConfig = dataclasses.field(default_factory=SasRecConfig)
    bert4rec: Bert4RecConfig = dataclasses.field(default_factory=Bert4RecConfig)
    gru4rec: Gru4RecConfig = dataclasses.field(default_factory=Gru4RecConfig)
    caser: CaserConfig = dataclasses.field(default_factory=CaserConfig)


def _graph(run: Run, config: LightGcnConfig, folder: pathlib.Path) -> Scorer:
    split = run.split
    made = collaborative.train(split.train, config, valid=split.valid, seed=run.config.seed, folder=folder)
    return collaborative.scorer(made.vectors)


def _ncf(run: Run, config: NcfConfig, folder: pathlib.Path) -> Scorer:
    return pairs.train_ncf(run.split, config, seed=run.config.seed, folder=folder)


def _ease(run: Run, config: EaseConfig, folder: pathlib.Path) -> Scorer:
    del folder  # closed form: there is nothing to go on with
    return pairs.train_ease(run.split, config)


def _sasrec(run: Run, config: SasRecConfig, folder: pathlib.Path) -> Scorer:
    return sequences.train("SASRec", _new(SasRec, run, config), run.split, seed=run.config.seed, folder=folder)


def _bert4rec(run: Run, config: Bert4RecConfig, folder: pathlib.Path) -> Scorer:
    model, seed = _new(Bert4Rec, run, config), run.config.seed
    return sequences.train("BERT4Rec", model, run.split, seed=seed, folder=folder, loss=cloze_loss, ahead=0)


def _gru4rec(run: Run, config: Gru4RecConfig, folder: pathlib.Path) -> Scorer:
    return sequences.train("GRU4Rec", _new(Gru4Rec, run, config), run.split, seed=run.config.seed, folder=folder)


def _caser(run: Run, config: CaserConfig, folder: pathlib.Path) -> Scorer:
    model = _new(Caser, run, config, run.data.n_users)
    return sequences.train("Caser", model, run.split, seed=run.config.seed, folder=folder, users=True)


def _new(model: Callable[..., Any], run: Run, config: SequenceConfig, *more: int) -> Any:
    """A model with fresh weights, a function of the seed alone."""
    return model(config, run.data.n_items, *more, rngs=nnx.Rngs(params=stream(run.key, "weights")))


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A row of the table.

    Attributes:
      title: what tables call it.
      train: train(run, its settings, folder) -> Scorer; goes on with what it finds in the folder.
    """

    title: str
    train: Callable[[Run, Any, pathlib.Path], Scorer]


BASELINES = {
    "mf": Baseline("BPR-MF", _graph),
    "lightgcn": Baseline("LightGCN", _graph),
    "ncf": Baseline("NCF", _ncf),
    "ease": Baseline("EASE", _ease),
    "sasrec": Baseline("SASRec", _sasrec),
    "bert4rec": Baseline("BERT4Rec", _bert4rec),
    "gru4rec": Baseline("GRU4Rec", _gru4rec),
    "caser": Baseline("Caser", _caser),
}
"""By the names of their settings."""


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
    score = baseline.train(run, own, config.folder / name)
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
      What results.json holds; `jaxrec.methods.compare.table` makes lines of it.
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


def check(names: Sequence[str]) -> None:
    """Looks at names before anything is trained.

    Raises:
      ValueError: there is none, one is unknown, or one is given twice.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown or not names:
        raise ValueError(f"baselines {', '.join(unknown) or '(none)'}: give some of {', '.join(BASELINES)}")
    if len(set(names)) < len(names):
        raise ValueError(f"baselines {', '.join(names)} name one twice; give each once")


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
