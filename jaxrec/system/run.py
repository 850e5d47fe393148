"""A run and its folder: one config, the data it names, and where each stage leaves what it made."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
import sys

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.config import Config, from_dict, to_json
from jaxrec.data.load import load_interactions
from jaxrec.data.review_features import explanations, feature_words
from jaxrec.data.split import (
    hold_unseen,
    make_split,
    split_events,
    training_events_alone,
    withheld_events,
    without_ratings,
)
from jaxrec.embedders.registry import embedder
from jaxrec.files import write_whole
from jaxrec.models.losses import loss_of
from jaxrec.progress import logger
from jaxrec.tasks.writing_examples import TextEvents, stars_text
from jaxrec.tokenizers.registry import id_kind, kind_name
from jaxrec.types import EventSplit, Histories, Interactions, Split

CHOICES = 20
"""Different ratings that data may have where they are asked for: each is a possible answer."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A config with its data and folder.

    Attributes:
      config: what was asked for.
      folder: where stages leave their files.
      data: events and names.
      split: training histories and held-out targets.
      events: which events teach, select and test ratings and texts; None where no task asks for them.
      material: what may be told or asked of the events; None where no task asks for them.
      fresh: whether this call is the first on the folder.
    """

    config: Config
    folder: pathlib.Path
    data: Interactions
    split: Split
    events: EventSplit | None = None
    material: TextEvents | None = None
    fresh: bool = False

    @property
    def learned_from(self) -> Histories:
        """What the embedder may see: training alone or, under `as-released`, every event, as the papers' code did."""
        if self.config.protocol == "strict":
            return self.split.train
        offsets = np.searchsorted(self.data.user, np.arange(self.data.n_users + 1))
        return Histories(offsets, self.data.item, self.data.n_items, self.data.rating)

    @property
    def key(self) -> jax.Array:
        """The key that every stage's stream is derived from."""
        return jax.random.key(self.config.seed)

    def say(self, message: str) -> None:
        """Logs one line about where the run is."""
        logger.info("[%s] %s", self.config.name, message)


def start(config: Config) -> Run:
    """Opens a run's folder and loads its data; a folder that holds the same config is gone on with.

    Raises:
      ValueError: the config contradicts itself, its data can't be read, or the folder holds a run of another
        config; names the fields that differ.
    """
    check(config)
    folder = config.folder
    file = folder / "config.json"
    run = _load(config, folder, fresh=not file.is_file())
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, to_json(config) + "\n")
    return run


def reopen(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder.

    Raises:
      ValueError: the folder holds no run, or its config is not of this version.
    """
    folder = pathlib.Path(folder)
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"{folder} holds no run (no config.json); train one with python -m launch.train")
    return _load(_read_config(file), folder)


def command() -> str:
    """The command line of this process, as a reader would repeat it."""
    module = sys.modules["__main__"].__spec__
    program = pathlib.Path(sys.argv[0]).stem
    if module or program != "jaxrec":  # the console command is a script that has no module
        program = f"python -m {module.name if module else program}"
    return f"{program} {shlex.join(sys.argv[1:])}".strip()


def check(config: Config) -> None:
    """Looks at a config before anything is loaded.

    Raises:
      ValueError: it contradicts itself, or its folder holds a run of another config; names the fields that differ.
    """
    file = config.folder / "config.json"
    if file.is_file():
        _check_same(config, _read_config(file), config.folder)
    _check_tasks(config)
    embedder(config.embedder)
    loss_of(config)
    if config.protocol == "as-released" and config.data.split != "strict":
        raise ValueError("protocol 'as-released' is leave-one-out with a leak; it goes with data.split strict")
    if config.ids.users == "none" and "direct" in config.task.tasks:
        raise ValueError("task 'direct' needs user ids; set ids.users, or --task.tasks sequential")
    if config.protocol == "as-released" and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError("protocol 'as-released' embeds every event, so nobody is unseen; set data.unseen_users 0")
    if config.answer == "vector" and config.train.target_length % 2:
        raise ValueError(f"train.target_length={config.train.target_length}: an example takes two; give an even number")
    if not config.retrieval.temperature > 0:
        raise ValueError(f"retrieval.temperature={config.retrieval.temperature} must be above 0, 0.07 say")
    for part, names in (
        ("quantizer", ("codebooks", "codewords", "width", "epochs", "batch")),
        ("ids", ("clusters", "restarts", "iterations", "neighbours", "branches", "leaf")),
    ):
        for name in names:
            if (value := getattr(getattr(config, part), name)) < 1:
                raise ValueError(f"{part}.{name}={value} must be at least 1")
    id_kind(config.ids.kind)
    of_users = kind_name("user", config.ids.kind, config.ids.entities)
    if config.ids.users == "causal" and not id_kind(of_users).from_vectors:
        raise ValueError(
            f"ids.users causal makes users' ids of their histories, and {of_users} ids are not made of anything; "
            "set ids.users static or none"
        )
    if not 0 <= config.quantizer.mask < 1:
        raise ValueError(f"quantizer.mask={config.quantizer.mask} is a share, wanted 0 <= mask < 1")
    if config.model.init_from and (pathlib.Path(config.model.init_from) / "jaxrec.json").is_file():
        raise ValueError(
            f"model.init_from={config.model.init_from} is the export of a run, whose tokenizer knows ids already; "
            "start from what that run started from, or go on with the run itself"
        )
    if config.model.lora.rank and config.model.backbone == "t5":
        raise ValueError(
            f"model.lora.rank={config.model.lora.rank} adapts a decoder-only model; set model.backbone llama, or rank 0"
        )
    if config.model.lora.rank < 0 or not 0 <= config.model.lora.dropout < 1:
        raise ValueError("model.lora wants rank >= 0 and 0 <= dropout < 1")
    if config.answer == "id" and config.eval.beams < 10:
        raise ValueError(
            f"eval.beams={config.eval.beams} can't list ten items, by which training is validated; give 10"
        )
    if jax.process_count() > 1:
        raise ValueError("a run's stages are made by one process; start one, with all devices of a host")


def _check_tasks(config: Config) -> None:
    """Looks at what is asked.

    Raises:
      ValueError: nothing is asked, a weight is no weight, or tasks contradict the rest.
    """
    task = config.task
    if not task.tasks:
        raise ValueError("task.tasks names no task; give some: --task.tasks sequential direct")
    for name in task.tasks:
        task.weight(name)
    for name, least in (("words", 300), ("max_text", 1), ("max_answer", 1)):
        if getattr(task, name) < least:
            raise ValueError(f"task.{name}={getattr(task, name)} must be at least {least}")
    for name, least in (("text_beams", 1), ("text_events", 0)):
        if getattr(config.eval, name) < least:
            raise ValueError(f"eval.{name}={getattr(config.eval, name)} must be at least {least}")
    if {"ndcg@10": not task.ranking, "nll": not task.writing}.get(config.train.select, False):
        needs = "ranks items" if config.train.select == "ndcg@10" else "writes"
        raise ValueError(f"train.select {config.train.select} wants a task that {needs}; set train.select auto")
    if not task.ranking and config.data.split != "strict":
        raise ValueError("data.split is of tasks that rank items; those that write draw 80/10/10: leave it strict")
    if task.writing and config.answer == "vector":
        raise ValueError(f"task {task.writing[0]!r} wants words, and answer 'vector' says none; set answer id")
    if not task.ranking and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError("data.unseen_users and unseen_items are of tasks that rank items; add one, or leave them out")


def _load(config: Config, folder: pathlib.Path, *, fresh: bool = False) -> Run:
    """The data and its splits.

    Items are ranked by a leave-one-out split, ratings and texts by one of events. Where both are asked, no event that
    the first holds back teaches the second, and embedders don't see how an event was rated that the second holds back.
    """
    data, _ = load_interactions(config.data, seed=config.seed, beside=(folder, folder.parent))
    events = None
    if config.task.ranking:
        split = make_split(data, config.data.split)
        split = hold_unseen(split, users=config.data.unseen_users, items=config.data.unseen_items, seed=config.seed)
    if config.task.writing:
        _check_columns(config, data)
        withheld = withheld_events(data, split) if config.task.ranking else None
        events = split_events(data, seed=config.seed, withheld=withheld)
        if config.task.ranking:
            split = without_ratings(split, data, np.concatenate([events.valid, events.test]))
        else:
            split = training_events_alone(data, events)
    if config.protocol != "strict":
        split = dataclasses.replace(split, protocol=config.protocol)
    material = None if events is None else _material(config, data, events)
    return Run(config, folder, data, split, events, material, fresh)


def _material(config: Config, data: Interactions, events: EventSplit) -> TextEvents:
    """What may be told or asked of the events.

    Feature words are found in reviews that teach, but for those of a user's last two events, which leave-one-out
    holds back: so runs with and without tasks that rank ask and want the same.
    """
    empty = np.full(data.n_events, "", object)
    text = data.text or {}
    review, summary = text.get("review", empty), text.get("summary", empty)
    ends = np.searchsorted(data.user, data.user, side="right")
    early = events.train[ends[events.train] - events.train > 2]
    features = feature_words(review[early].tolist()) if "explanation" in config.task.writing else []
    feature, sentence = explanations(review.tolist(), features) if features else (empty, empty)
    stars = empty if data.rating is None else np.array([stars_text(float(r)) for r in data.rating], object)
    return TextEvents(data.user.astype(np.int64), data.item.astype(np.int64), stars, feature, sentence, review, summary)


def _check_columns(config: Config, data: Interactions) -> None:
    """Looks for what the tasks ask about.

    Raises:
      ValueError: the data has no ratings, reviews or summaries, or too many different ratings, for a task.
    """
    different = 0 if data.rating is None else len(np.unique(data.rating))
    if different > CHOICES and {"rating", "preference"} & set(config.task.writing):
        raise ValueError(
            f"the ratings of {config.data.path or 'the data'} take {different} different values, and each is a "
            f"possible answer: round them to at most {CHOICES}, or leave rating and preference out"
        )
    needs = {"rating": ("rating",), "preference": ("rating", "review")}
    needs |= {"explanation": ("review",), "review": ("review", "summary")}
    there = {"rating"} if data.rating is not None else set()
    there |= set(data.text or {})
    for task in config.task.writing:
        if missing := [column for column in needs[task] if column not in there]:
            raise ValueError(
                f"task {task!r} needs the column {missing[0]}, which {config.data.path or 'the data'} does not have; "
                f"leave the task out, or name it: --data.columns {missing[0]}=..."
            )


def _read_config(file: pathlib.Path) -> Config:
    try:
        return from_dict(Config, json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is not a config of this version of jaxrec: {error}") from error


def _check_same(wanted: Config, found: Config, folder: pathlib.Path) -> None:
    one, other = (flatten_dict(dataclasses.asdict(config), sep=".") for config in (wanted, found))
    differing = sorted(n for n in one if one[n] != other[n] and n != "out")
    if differing:
        raise ValueError(
            f"{folder} holds a run of another config ({', '.join(differing)} differ); "
            f"give --out another folder, or delete this one"
        )
