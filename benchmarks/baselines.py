"""Baselines beside RecBole's: the same events, split, ranking and cores, ours and theirs in turn.

`python -m benchmarks.baselines CONFIG --peer VENV/bin/python --systems hgn sasrec`: RecBole wants old packages, so it
lives in an environment of its own (`pip install torch recbole "numpy<2" "pandas<3" kmeans_pytorch plotly`). Both sides
run on the cores that this process may use; `taskset -c 0` gives them one. All items are ranked but those of the
history; ties count half.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tyro

from benchmarks.harness import circumstances, write
from jaxrec.baselines.registry import BASELINES, Settings, settings_of
from jaxrec.config import Config, TaskConfig, load_config
from jaxrec.evaluate.bootstrap import paired_bootstrap
from jaxrec.evaluate.full_ranking import Result, evaluate_scores
from jaxrec.evaluate.ranking import metrics, user_values
from jaxrec.system.run_data import load_run_data
from jaxrec.types import Histories, Split

PEERS = {
    "sasrec": ("SASRec", {"loss_type": "CE"}),
    "gru4rec": ("GRU4Rec", {"loss_type": "CE"}),
    "caser": ("Caser", {"loss_type": "CE"}),
    "bert4rec": ("BERT4Rec", {"loss_type": "CE"}),
    "hgn": ("HGN", {"loss_type": "CE"}),
    "fdsa": ("FDSA", {"loss_type": "CE", "selected_features": ["attributes"]}),
}
"""RecBole's models and what is set of their losses, by our names; all else is RecBole's default."""


@dataclasses.dataclass(frozen=True)
class Arguments(Settings):
    """Trains baselines and RecBole's models of the same names on one split, and compares ranking and speed."""

    config: tyro.conf.Positional[str] = "configs/meta_id_ml100k.py"
    """Config whose data and split are used."""
    peer: str = ""
    """Python of the environment with RecBole."""
    systems: tuple[str, ...] = ("sasrec", "hgn")
    """Names of baselines."""
    seed: int = 0
    """Of both sides."""
    length: int = 50
    """Newest items of a history that both sides read."""
    epochs: int = 300
    """Maximum number of RecBole's epochs; it stops after ten validations without a better NDCG@10."""
    work: pathlib.Path = pathlib.Path("runs/recbole")
    """Folder for data, checkpoints and scores."""
    out: pathlib.Path = pathlib.Path("benchmarks/results")
    """Folder of the JSON."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table, and writes it."""
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    if wrong := [name for name in arguments.systems if name not in PEERS]:
        raise SystemExit(f"--systems {' '.join(wrong)}: RecBole is asked for {', '.join(PEERS)}")
    if not arguments.peer:
        raise SystemExit("--peer names no Python; give that of an environment with RecBole")
    config = load_config(arguments.config)
    config = config.replace(seed=arguments.seed, task=TaskConfig(tasks=("sequential",)))
    _, split, *_ = load_run_data(config, arguments.work)
    if split.protocol != "strict" or split.unseen_users.any() or split.unseen_items.any():
        raise SystemExit("RecBole splits by leave-one-out; give a config of a strict split, with nothing unseen")
    write_events(split, arguments.work / "split")
    report: dict[str, Any] = {"data": config.data.name, "protocol": split.protocol, **circumstances(), "rows": []}
    for name in arguments.systems:
        report["rows"] += compare(name, arguments, config, split)
        write(arguments.out, f"recbole-{config.data.name.lower().replace(' ', '-')}", report)
    print(table(report))


def compare(name: str, arguments: Any, config: Config, split: Split) -> list[dict[str, Any]]:
    """Trains both sides and ranks the test items of all users; for each a row with metrics and rates."""
    settings = dataclasses.replace(settings_of(name, arguments), length=arguments.length)
    # Another configuration must not go on from this one's checkpoints.
    about = f"{config.data} {config.seed} {settings}"
    folder = arguments.work / f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:8]}"
    score = BASELINES[name].train(settings, split, arguments.seed, folder)
    ours = evaluate_scores(BASELINES[name].title, score, split, "test")
    lines = [json.loads(line) for line in next(folder.rglob("metrics.jsonl")).read_text().splitlines()]
    rate = statistics.median(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
    peer, changed = PEERS[name]
    recbole = {
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "MAX_ITEM_LIST_LENGTH": arguments.length,
        "items": split.train.n_items,
        "use_gpu": False,
        "checkpoint_dir": str(arguments.work / "checkpoints"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "attributes"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "train_neg_sample_args": None,
        "valid_metric": "NDCG@10",
        "show_progress": False,
        "state": "warning",
        **changed,
    }
    command = [arguments.peer, str(pathlib.Path(__file__).with_name("recbole_peer.py")), str(arguments.work), peer]
    done = subprocess.run([*command, json.dumps(recbole)], check=True, stdout=subprocess.PIPE, text=True)
    timed = json.loads(done.stdout.splitlines()[-1])
    stored = np.load(arguments.work / f"{peer}.npz")
    row_of = np.full(len(split.test), -1)
    row_of[stored["users"]] = np.arange(len(stored["users"]))

    def stored_scores(_: Histories, users: np.ndarray) -> np.ndarray:
        return stored["scores"][row_of[users]]

    theirs = evaluate_scores(f"{BASELINES[name].title}, RecBole", stored_scores, split, "test")
    difference = paired_bootstrap(user_values(ours.ranks, "ndcg@10"), user_values(theirs.ranks, "ndcg@10"))
    return [
        _row(ours)
        | {"steps": lines[-1]["step"], "targets_per_second": rate, "minus_peer": dataclasses.asdict(difference)},
        _row(theirs) | timed,
    ]


def _row(result: Result) -> dict[str, Any]:
    return {"system": result.system, **metrics(result.ranks, (10,))}


def write_events(split: Split, folder: pathlib.Path) -> None:
    """Writes users in RecBole's form: numbers as names, places in the history as times.

    Its leave-one-out split of them is this split, which is strict. Attributes follow where the data has some.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in np.flatnonzero((split.test >= 0) & (split.valid >= 0)):
        events = [*split.train.of(user).tolist(), split.valid[user], split.test[user]]
        lines += [f"{user}\t{item}\t{place}" for place, item in enumerate(events)]
    (folder / "split.inter").write_text("\n".join(lines) + "\n")
    rows = ["item_id:token\tattributes:token_seq"]
    for item in range(split.train.n_items):
        values = [] if split.attributes is None else split.attributes.of(item).tolist()
        rows.append(f"{item}\t{' '.join(map(str, values))}")
    (folder / "split.item").write_text("\n".join(rows) + "\n")


def table(report: dict[str, Any]) -> str:
    """The rows as aligned lines."""
    lines = [f"{'system':<24}{'HR@10':>10}{'NDCG@10':>10}{'targets/s':>12}"]
    for row in report["rows"]:
        rate = f"{row['targets_per_second']:,.0f}"
        lines.append(f"{row['system']:<24}{row['hr@10']:>10.4f}{row['ndcg@10']:>10.4f}{rate:>12}")
    return "\n".join([*lines, f"{report['data']}, {report['protocol']}; {report['processor']}"])


if __name__ == "__main__":
    main(sys.argv[1:])
