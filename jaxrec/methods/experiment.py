"""What a user asks of a run: train and measure it, measure it again, recommend with it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.config import Config
from jaxrec.evaluate.evaluate import Result, evaluate_baselines
from jaxrec.evaluate.report import report, table, write
from jaxrec.keys import generator
from jaxrec.methods import meta_id
from jaxrec.methods import run as runs
from jaxrec.methods.meta_id import MetaId
from jaxrec.recommend.exact import gap
from jaxrec.types import Histories


def train(config: Config) -> tuple[MetaId, str]:
    """Trains what a config describes, or goes on with it, and measures it beside the baselines.

    Returns:
      the trained system, and results.json as a table to read.
    """
    started = time.monotonic()
    system, _ = meta_id.train(meta_id.build(runs.start(config)))
    results = _measure(system, "test")
    # A call that went on with an older one's work doesn't know how long that took.
    found = _report(system, "test", results, time.monotonic() - started if system.run.fresh else _seconds(system))
    write(system.run.folder, found, results)
    return system, table(found)


def _seconds(system: MetaId) -> float | None:
    """What results.json says of the run's time, if there is one and it does."""
    file = system.run.folder / "results.json"
    return json.loads(file.read_text()).get("seconds") if file.is_file() else None


def load(folder: str | os.PathLike[str], **changed: Any) -> MetaId:
    """The trained system in a run's folder, with the best weights.

    Args:
      folder: what `launch.train` left.
      changed: fields of the run's eval config to override.
    Raises:
      ValueError: the folder holds no run, or one that has no checkpoint yet.
    """
    run = runs.reopen(folder)
    if not all((run.folder / part).is_dir() for part in ("ids", "tokenizer", "checkpoints")):
        raise ValueError(f"{run.folder} holds no checkpoints yet; python -m launch.train makes or finishes the run")
    settings = dataclasses.replace(run.config.eval, **changed)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, eval=settings))
    return meta_id.restore(meta_id.build(run))


def evaluate(system: MetaId, part: str) -> str:
    """Measures a trained system again; leaves the report in its folder under evaluations/, returns the table."""
    started = time.monotonic()
    results = _measure(system, part)
    found = _report(system, part, results, time.monotonic() - started)
    settings = system.run.config.eval
    write(
        system.run.folder / "evaluations" / f"{part}-{settings.recommender}-{settings.beams}-{settings.prompt}",
        found,
        results,
    )
    return f"{table(found)}\n{_beams_gap(system, part)}" if settings.recommender == "exact" else table(found)


def _beams_gap(system: MetaId, part: str, most: int = 256) -> str:
    """How far beam search is from exact scoring, on the lists of ten for some users; `system` scores exactly."""
    run = system.run
    settings = dataclasses.replace(run.config.eval, recommender="beam")
    config = dataclasses.replace(run.config, eval=settings)
    beam = dataclasses.replace(system, run=dataclasses.replace(run, config=config))
    users, k = np.flatnonzero(run.split.target(part) >= 0)[:most], min(10, run.data.n_items)
    task, history = run.config.task.tasks[0], run.split.history(part)
    far = gap(beam.recommend(history, users, k, task), system.recommend(history, users, k, task))
    return (
        f"{settings.beams} beams on {len(users)} of these users: {np.mean(far.recall):.2%} of the exact {k} found, "
        f"log-probabilities are {np.mean(far.shortfall):.2e} lower"
    )


def examples(system: MetaId, n: int) -> list[str]:
    """Names of a few users whose held-out item is known, drawn by the run's seed."""
    users = np.flatnonzero(system.run.split.test >= 0)
    drawn = generator(system.run.config.seed, "examples").permutation(users)[:n]
    return [str(system.run.data.user_names[user]) for user in drawn]


def _measure(system: MetaId, part: str) -> list[Result]:
    """Ranks of the system, for each task it was trained on, and of the three baselines of the same split."""
    run = system.run
    run.say(f"measuring on the {part} items of all users")
    tasks = run.config.task.tasks
    names = {tasks[0]: "META ID"} | {task: f"META ID ({task})" for task in tasks[1:]}
    results = [system.measure(part, task=task, name=name) for task, name in names.items()]
    return results + evaluate_baselines(run.split, part, mask_seen=run.config.eval.mask_seen)


def _report(system: MetaId, part: str, results: list[Result], seconds: float | None) -> dict[str, Any]:
    config = system.run.config
    return report(
        results,
        system.run.split,
        part,
        dataset=config.data.name,
        seed=config.seed,
        mask_seen=config.eval.mask_seen,
        command=runs.command(),
        seconds=seconds,
    )


@dataclasses.dataclass(frozen=True)
class Shown:
    """One user's recommendations, for people; `str` lays them out.

    Attributes:
      who: whom they are for.
      history: (label, id) of the items that the prompt held, oldest first; a label is the title, or title and name.
      items: (label, id, score, whether it is the held-out item), best first; a score is a log-probability.
    """

    who: str
    history: list[tuple[str, str]]
    items: list[tuple[str, str, float, bool]]

    def __str__(self) -> str:
        width = max((len(label) for label, *_ in [*self.history, *self.items]), default=0)
        lines = [self.who]
        if self.history:
            lines.append("  history, oldest first:")
            lines += [f"    {label:<{width}}  {tokens}" for label, tokens in self.history]
        lines.append("  recommendations, log-probability:")
        for label, tokens, score, held_out in self.items:
            mark = "  <- the held-out item" if held_out else ""
            lines.append(f"    {label:<{width}}  {tokens:<22} {score:8.3f}{mark}")
        return "\n".join(lines)


def recommend(
    system: MetaId,
    k: int,
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    task: str | None = None,
) -> Shown:
    """The best k items for a user of the data, or for somebody new with a history.

    Args:
      system: a trained system.
      k: how many.
      user: a name from the data; all but the test item is known of them.
      history: names of items, oldest first, instead of a user.
      task: one that the run was trained on; default its first.
    Raises:
      ValueError: a name or the task is unknown, or k is out of range.
    """
    data, trained = system.run.data, system.run.config.task.tasks
    task = task or trained[0]
    if task not in trained:
        raise ValueError(f"task {task!r} was not trained in this run; it knows {', '.join(trained)}")
    if not 1 <= k <= data.n_items:
        raise ValueError(f"k={k} is not between 1 and the {data.n_items} items of this catalogue")
    if user is not None:
        number, histories = _numbers(data.user_names, [user], "user")[0], system.run.split.history("test")
        who = f"user {user}, {system.user_name(histories, number)}".removesuffix(", ")
        return _show(system, histories, number, k, task, who, int(system.run.split.test[number]))
    items = _numbers(data.item_names, history or [], "item")
    histories = Histories(np.array([0, len(items)]), np.asarray(items, np.int32), data.n_items)
    who = f"somebody new, {system.user_name(histories, 0)}".removesuffix(", ")
    return _show(system, histories, 0, k, task, who, -1)


def _show(system: MetaId, histories: Histories, user: int, k: int, task: str, who: str, truth: int) -> Shown:
    top = system.recommend(histories, np.array([user]), k, task)
    data = system.run.data

    def label(item: int) -> str:
        name, title = str(data.item_names[item]), str(data.titles()[item])
        return name if name == title else f"{title} ({name})"

    asked = histories.of(user)[-system.run.config.task.max_history :] if task == "sequential" else ()
    return Shown(
        who,
        [(label(i), system.item_name(i)) for i in asked],
        [
            (label(i), system.item_name(i), float(score), bool(i == truth))
            for i, score in zip(top.items[0], top.scores[0])
            if i >= 0
        ],
    )


def _numbers(names: np.ndarray, wanted: Sequence[str], what: str) -> list[int]:
    position = {str(name): i for i, name in enumerate(names)}
    unknown = [name for name in wanted if name not in position]
    if unknown:
        some = ", ".join(map(str, names[:3]))
        raise ValueError(f"{what} {unknown[0]!r} is not in this run's data; names look like: {some}")
    return [position[name] for name in wanted]
