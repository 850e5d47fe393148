"""What a config alone can tell of itself: values out of range, and settings that contradict each other."""

from __future__ import annotations

import pathlib

from jaxrec.config.config import Config

AT_LEAST = {
    "quantizer": {"codebooks": 1, "codewords": 1, "width": 1, "epochs": 1, "batch": 1},
    "ids": {"clusters": 1, "restarts": 1, "iterations": 1, "neighbours": 1, "branches": 1, "leaf": 1},
    "task": {"words": 300, "max_text": 1, "max_answer": 1},
    "eval": {"text_beams": 1, "text_events": 0},
}
"""The least value of a field, by the part of the config that it is in."""


def check_config(config: Config) -> None:
    """Looks for contradictions and for values out of range.

    Raises:
      ValueError: there is one; names the field, and what to set instead.
    """
    for part, fields in AT_LEAST.items():
        for field, least in fields.items():
            if (value := getattr(getattr(config, part), field)) < least:
                raise ValueError(f"{part}.{field}={value} must be at least {least}")
    _check_tasks(config)
    _check_protocol(config)
    _check_model(config)


def _check_tasks(config: Config) -> None:
    task = config.task
    if not task.tasks:
        raise ValueError("task.tasks names no task; give some: --task.tasks sequential direct")
    for name in task.tasks:
        task.weight(name)
    if {"ndcg@10": not task.ranking, "nll": not task.writing}.get(config.train.select, False):
        needs = "ranks items" if config.train.select == "ndcg@10" else "writes"
        raise ValueError(f"train.select {config.train.select} wants a task that {needs}; set train.select auto")
    if not task.ranking and config.data.split != "strict":
        raise ValueError("data.split is of tasks that rank items; those that write draw 80/10/10: leave it strict")
    if task.writing and config.answer == "vector":
        raise ValueError(f"task {task.writing[0]!r} wants words, and answer 'vector' says none; set answer id")
    if not task.ranking and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError("data.unseen_users and unseen_items are of tasks that rank items; add one, or leave them out")
    if config.ids.users == "none" and "direct" in task.tasks:
        raise ValueError("task 'direct' needs user ids; set ids.users, or --task.tasks sequential")


def _check_protocol(config: Config) -> None:
    if config.protocol == "as-released" and config.data.split != "strict":
        raise ValueError("protocol 'as-released' is leave-one-out with a leak; it goes with data.split strict")
    if config.protocol == "as-released" and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError("protocol 'as-released' embeds every event, so nobody is unseen; set data.unseen_users 0")


def _check_model(config: Config) -> None:
    if config.answer == "vector" and config.train.target_length % 2:
        raise ValueError(f"train.target_length={config.train.target_length}: an example takes two; give an even number")
    if config.answer == "id" and config.eval.beams < 10:
        raise ValueError(
            f"eval.beams={config.eval.beams} can't list ten items, by which training is validated; give 10"
        )
    if not config.retrieval.temperature > 0:
        raise ValueError(f"retrieval.temperature={config.retrieval.temperature} must be above 0, 0.07 say")
    if not 0 <= config.quantizer.mask < 1:
        raise ValueError(f"quantizer.mask={config.quantizer.mask} is a share, wanted 0 <= mask < 1")
    if config.model.lora.rank < 0 or not 0 <= config.model.lora.dropout < 1:
        raise ValueError("model.lora wants rank >= 0 and 0 <= dropout < 1")
    if config.model.init_from and (pathlib.Path(config.model.init_from) / "jaxrec.json").is_file():
        raise ValueError(
            f"model.init_from={config.model.init_from} is the export of a run, whose tokenizer knows ids already; "
            "start from what that run started from, or go on with the run itself"
        )
