"""What a user asks of a run: train and measure it, measure it again, recommend with it, bring it up to date."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.config import Config
from jaxrec.evaluate.report import write
from jaxrec.keys import generator
from jaxrec.methods import run as runs
from jaxrec.methods import serving, training
from jaxrec.methods.build import build, welcome
from jaxrec.methods.measuring import beams_gap, lines, measure, report_of, some_users
from jaxrec.methods.report.write import write_report
from jaxrec.methods.shown import Shown
from jaxrec.methods.system import System, histories_of
from jaxrec.methods.writer import Writer
from jaxrec.models.retriever import Retriever
from jaxrec.types import Histories, TopK


def train(config: Config) -> tuple[System, dict[str, Any]]:
    """Trains what a config describes, or goes on with it, and measures it beside the baselines.

    Returns:
      the trained system, and what results.json holds; `jaxrec.methods.measuring.lines` shows it.
    """
    started = time.monotonic()
    system, _ = training.train(build(runs.start(config)))
    system = _with_unseen(system)
    serving.fill_store(system)
    measured = measure(system, "test")
    # A call that went on with an older one's work doesn't know how long that took.
    found = report_of(system, "test", measured, time.monotonic() - started if system.run.fresh else _seconds(system))
    write(system.run.folder, found, measured.ranks)
    leave_report(system)
    return system, found


def leave_report(system: System, file: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Writes the report of a measured run, by default as report.html in its folder; returns where it is."""
    if not system.run.config.task.ranking:
        return write_report(system, [], file)
    asked, task = some_users(system), system.run.config.task.ranking[0]
    truth = system.run.split.test[asked]
    top = system.recommend(asked, min(10, system.run.data.n_items))  # compiled already where a list's time was measured
    shown = []
    for row in generator(system.run.config.seed, "examples").permutation(np.flatnonzero(truth >= 0))[:3]:
        user, known = asked[row : row + 1], histories_of(system.histories, asked[row : row + 1])
        one, name = TopK(top.items[row : row + 1], top.scores[row : row + 1]), system.run.data.user_names[user[0]]
        who = f"user {name}, {system.user_name(system.user_codes(known, user), 0)}".removesuffix(", ")
        shown.append(_show(system, known, one, task, who, int(truth[row])))
    return write_report(system, shown, file)


def _seconds(system: System) -> float | None:
    """What results.json says of the run's time, if there is one and it does."""
    file = system.run.folder / "results.json"
    return json.loads(file.read_text()).get("seconds") if file.is_file() else None


def load(folder: str | os.PathLike[str], **changed: Any) -> System:
    """The trained system in a run's folder, with the best weights; it knows nobody whom the run's data doesn't.

    Args:
      folder: what `launch.train` left.
      changed: fields of the run's eval config to override.
    Raises:
      ValueError: the folder holds no run, or one that has no checkpoint yet, or what is overridden is not asked in it.
    """
    run = runs.reopen(folder)
    ignored = sorted({"recommender", "beams"} & set(changed)) if run.config.answer == "vector" else []
    if ignored:
        raise ValueError(
            f"{run.folder} answers with vectors, which are searched without beams: leave out {', '.join(ignored)}"
        )
    if (
        not all((run.folder / part).is_dir() for part in ("ids", "tokenizer", "checkpoints"))
        or not (run.folder / "vectors.npz").is_file()
    ):
        raise ValueError(f"{run.folder} holds no checkpoints yet; python -m launch.train makes or finishes the run")
    ignored = sorted({"recommender", "beams"} & set(changed)) if not run.config.task.ranking else []
    if ignored:
        raise ValueError(f"{run.folder} ranks no items: leave out {', '.join(ignored)}")
    settings = dataclasses.replace(run.config.eval, **changed)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, eval=settings))
    return _with_unseen(training.restore(build(run)))


def _with_unseen(system: System) -> System:
    """The system with vectors and ids for the users and items that were held out of its training."""
    split = system.run.split
    users, items = np.flatnonzero(split.unseen_users), np.flatnonzero(split.unseen_items)
    if not len(users) and not len(items):
        return system
    system = welcome(system, split.known, users, items)
    return dataclasses.replace(system, histories=split.history("test"))


def evaluate(system: System, part: str) -> str:
    """Measures a trained system again; leaves the report in its folder under evaluations/, returns the table."""
    started = time.monotonic()
    measured = measure(system, part)
    found = report_of(system, part, measured, time.monotonic() - started)
    settings = system.run.config.eval
    asked = "retrieval" if isinstance(system.model, Retriever) else f"{settings.recommender}-{settings.beams}"
    if not system.run.config.task.ranking:
        asked = "texts"
    if system.run.config.task.writing:
        asked += f"-{settings.text_beams}" + (f"-{settings.text_events}" if settings.text_events else "")
    write(system.run.folder / "evaluations" / f"{part}-{asked}-{settings.prompt}", found, measured.ranks)
    told, exact = lines(found), settings.recommender == "exact" and not isinstance(system.model, Retriever)
    return f"{told}\n{beams_gap(system, part)}" if exact and found["rows"] else told


def examples(system: System, n: int) -> list[str]:
    """Names of a few users whose held-out item is known, drawn by the run's seed."""
    users = np.flatnonzero(system.run.split.test >= 0)
    drawn = generator(system.run.config.seed, "examples").permutation(users)[:n]
    return [str(system.run.data.user_names[user]) for user in drawn]


def recommend(
    system: System,
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
      user: a name the system knows; all but the test item is known of those of the run's data.
      history: names of items, oldest first, instead of a user.
      task: one that the run was trained on; default its first.
    Raises:
      ValueError: a name or the task is unknown, or k is out of range.
    """
    data, trained = system.run.data, system.run.config.task.ranking
    if not trained:
        raise ValueError(f"{system.run.folder} ranks no items; ask it with python -m launch.ask")
    task = task or trained[0]
    if task not in trained:
        raise ValueError(f"task {task!r} was not trained in this run; it knows {', '.join(trained)}")
    if not 1 <= k <= data.n_items:
        raise ValueError(f"k={k} is not between 1 and the {data.n_items} items of this catalogue")
    if user is not None:
        number = _numbers(data.user_names, [user], "user")[0]
        top = system.recommend(np.array([number]), k, task)
        histories = histories_of(system.histories, np.array([number]))
        codes, held_out = system.user_codes(histories, np.array([number])), system.run.split.test
        truth = int(held_out[number]) if number < len(held_out) else -1
        who = f"user {user}"
    else:
        items = _numbers(data.item_names, history or [], "item")
        histories = Histories(np.array([0, len(items)]), np.asarray(items, np.int32), data.n_items)
        top, codes, truth = system.recommend_to_strangers(histories, k, task), system.user_codes(histories), -1
        who = "somebody new"
    return _show(system, histories, top, task, f"{who}, {system.user_name(codes, 0)}".removesuffix(", "), truth)


def ask(
    system: System, task: str, *, user: str, items: Sequence[str] = (), feature: str = "", review: str = ""
) -> list[tuple[str, str]]:
    """Stars or words of a user of the data: (title of the item, answer) for each item, ("", answer) about a review.

    Args:
      system: a trained system.
      task: one that the run was trained on and that writes.
      user: a name the system knows.
      items: names of items; "rating" and "explanation" want one at least.
      feature: the word that an explanation is about.
      review: the text that "review" sums up and "preference" rates.
    Raises:
      ValueError: the task was not trained, a name is unknown, or something is missing that the task needs.
    """
    data, trained = system.run.data, system.run.config.task.writing
    if task not in trained:
        raise ValueError(f"task {task!r} was not trained in this run; of those that write it knows {trained or 'none'}")
    about_items = task in ("rating", "explanation")
    if about_items != bool(items):
        raise ValueError(
            f"task {task!r} is about " + ("items; give some" if about_items else "a review; leave items out")
        )
    who = _numbers(data.user_names, [user], "user")[0]
    which = np.array(_numbers(data.item_names, items, "item") if items else [0])
    answers = Writer(system).ask(task, who, which, feature=feature, review=review)
    titles = [str(data.titles()[item]) if about_items else "" for item in which]
    told = []
    for answer in answers:
        if "text" in answer:
            told.append(answer["text"])
        else:
            odds = ", ".join(f"{stars}: {odd:.0%}" for stars, odd in answer["odds"].items())
            told.append(f"{answer['stars']:.2f} stars ({odds})")
    return list(zip(titles, told, strict=True))


def _show(system: System, histories: Histories, top: TopK, task: str, who: str, truth: int) -> Shown:
    data = system.run.data

    def label(item: int) -> str:
        name, title = str(data.item_names[item]), str(data.titles()[item])
        return name if name == title else f"{title} ({name})"

    asked = () if task == "direct" else histories.of(0)[-system.run.config.task.max_history :]
    return Shown(
        who,
        [(label(i), system.item_name(i)) for i in asked],
        [
            (label(i), system.item_name(i), float(score), bool(i == truth))
            for i, score in zip(top.items[0], top.scores[0])
            if i >= 0
        ],
        "cosine" if isinstance(system.model, Retriever) else "log-probability",
    )


def _numbers(names: np.ndarray, wanted: Sequence[str], what: str) -> list[int]:
    position = {str(name): i for i, name in enumerate(names)}
    unknown = [name for name in wanted if name not in position]
    if unknown:
        some = ", ".join(map(str, names[:3]))
        raise ValueError(f"{what} {unknown[0]!r} is not in this run's data; names look like: {some}")
    return [position[name] for name in wanted]
