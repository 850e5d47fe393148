"""Checks that need nothing but the config: values out of range, and settings that contradict each other."""

from __future__ import annotations

import dataclasses
import pathlib

from jaxrec.config.config import Config
from jaxrec.config.data import LightGcnConfig
from jaxrec.config.tasks import NO_AUGMENTATION, AugmentConfig

AT_LEAST = {
    "quantizer": {"codebooks": 1, "codewords": 1, "width": 1, "epochs": 1, "batch": 1},
    "ids": {"clusters": 0, "restarts": 1, "iterations": 1, "neighbours": 1, "branches": 1, "leaf": 1},
    "task": {"words": 300, "max_text": 1, "max_answer": 1},
    "eval": {"text_beams": 1, "text_events": 0},
}
"""Smallest allowed value of each field, by the part of the config it belongs to."""


def check_config(config: Config) -> None:
    """Checks that all values are in range and that no two settings contradict each other.

    Raises:
      ValueError: a value is out of range or two settings contradict each other; the message names the field and what
        to set instead.
    """
    for part, fields in AT_LEAST.items():
        for field, minimum in fields.items():
            if (value := getattr(getattr(config, part), field)) < minimum:
                raise ValueError(f"{part}.{field}={value} must be at least {minimum}")
    check_lightgcn(config.lightgcn)
    _check_tasks(config)
    _check_protocol(config)
    _check_model(config)


def check_lightgcn(settings: LightGcnConfig) -> None:
    """Checks the settings of LightGCN or matrix factorisation, of an embedder or a baseline.

    Raises:
      ValueError: a value is out of range, or a loss is repeated; the message names the field and what to set instead.
    """
    for field, minimum in {"negatives": 1, "batch": 1, "layers": 0, "epochs": 1, "validate_every": 0}.items():
        if (value := getattr(settings, field)) < minimum:
            raise ValueError(f"lightgcn.{field}={value} must be at least {minimum}")
    if not settings.temperature > 0:
        raise ValueError(f"lightgcn.temperature={settings.temperature} must be above 0; 0.2 is the default")
    names = " ".join(settings.losses)
    if not settings.losses or len(set(settings.losses)) < len(settings.losses):
        raise ValueError(f"lightgcn.losses={names!r} must name one or more losses, each once, such as: bpr in_batch")
    if len(settings.losses) > 1 and not settings.validate_every:
        raise ValueError(
            f"lightgcn.losses={names!r} are chosen among by validation, and validate_every is 0; name one loss, or "
            "set validate_every to 5"
        )


def check_augmentation(augment: AugmentConfig) -> None:
    """Checks how histories are varied, of a task or a baseline.

    Raises:
      ValueError: a probability is out of range; the message names the field.
    """
    for field, value in dataclasses.asdict(augment).items():
        if not 0 <= value < 1:
            raise ValueError(f"augment.{field}={value} is a probability; wanted 0 <= {field} < 1")


def _check_tasks(config: Config) -> None:
    task = config.task
    if not task.tasks:
        raise ValueError("task.tasks names no task; give at least one: --task.tasks sequential direct")
    for name in task.tasks:
        task.weight(name)
    check_augmentation(task.augment)
    if task.augment != NO_AUGMENTATION and not task.autoregressive:
        raise ValueError(
            "task.augment varies histories of task 'autoregressive' alone; set --task.tasks autoregressive"
        )
    if config.train.select == "ndcg@10" and not task.ranking:
        raise ValueError("train.select ndcg@10 wants a task that ranks items; set train.select auto")
    if config.train.select == "nll" and not task.writing:
        raise ValueError("train.select nll wants a task that writes; set train.select auto")
    if task.autoregressive:
        _check_autoregressive(config)
    if not task.ranking and config.data.split != "strict":
        raise ValueError(
            "data.split applies only to tasks that rank items; text tasks draw an 80/10/10 split: leave it strict"
        )
    if task.writing and config.answer == "vector":
        raise ValueError(f"task {task.writing[0]!r} wants words, and answer 'vector' generates none; set answer id")
    if not task.ranking and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError(
            "data.unseen_users and unseen_items apply only to tasks that rank items; add such a task, or set both to 0"
        )
    if config.ids.users == "none" and "direct" in task.tasks:
        raise ValueError("task 'direct' needs user ids; set ids.users to static or causal, or --task.tasks sequential")


def _check_autoregressive(config: Config) -> None:
    if len(config.task.tasks) > 1:
        raise ValueError("task 'autoregressive' goes with no other task; set --task.tasks autoregressive")
    if config.answer == "vector":
        raise ValueError("task 'autoregressive' predicts the tokens of ids, and answer 'vector' none; set answer id")
    if config.ids.users == "causal":
        raise ValueError(
            "task 'autoregressive' has one prompt for all targets of a user, and ids.users causal one for each; set "
            "ids.users static or none"
        )


def _check_members(config: Config) -> None:
    train = config.train
    if train.members < 1:
        raise ValueError(f"train.members={train.members} must be at least 1")
    if train.members > 1 and (config.answer == "vector" or config.task.writing):
        raise ValueError(
            f"train.members={train.members}: only models that answer with ids, and write nothing, have members; set "
            "train.members 1"
        )
    if not 0 <= train.average < 1:
        raise ValueError(f"train.average={train.average} is the decay of a moving average; wanted 0 <= average < 1")


def _check_item_head(config: Config) -> None:
    head = config.item_head
    if not config.task.autoregressive:
        raise ValueError(
            "answer 'both' reads histories item by item, as task 'autoregressive' does; set --task.tasks autoregressive"
        )
    if not 0 <= head.share <= 1:
        raise ValueError(f"item_head.share={head.share} is a share of the score; wanted 0 <= share <= 1")
    if not head.temperature > 0:
        raise ValueError(f"item_head.temperature={head.temperature} must be above 0; 0.07 is the default")
    if head.negatives < 0:
        raise ValueError(f"item_head.negatives={head.negatives} must be at least 0; 0 takes all items")
    if min(head.weight, head.id_weight) < 0 or head.weight + head.id_weight == 0:
        raise ValueError(
            f"item_head.weight={head.weight} and id_weight={head.id_weight} weight two losses; give two numbers of at "
            "least 0, one of them above 0"
        )


def _check_protocol(config: Config) -> None:
    if config.protocol == "as-released" and config.data.split != "strict":
        raise ValueError("protocol 'as-released' is leave-one-out with a leak; set data.split strict")
    if config.protocol == "as-released" and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError("protocol 'as-released' embeds every event, so nobody is unseen; set data.unseen_users 0")


def _check_model(config: Config) -> None:
    _check_members(config)
    if config.answer == "vector" and config.train.target_length % 2:
        raise ValueError(f"train.target_length={config.train.target_length}: an example takes two; give an even number")
    if config.answer == "both":
        _check_item_head(config)
    if config.answer != "vector" and config.eval.beams < 10:
        raise ValueError(
            f"eval.beams={config.eval.beams} can't list ten items, which validation by NDCG@10 needs; set at least 10"
        )
    if not config.retrieval.temperature > 0:
        raise ValueError(f"retrieval.temperature={config.retrieval.temperature} must be above 0; 0.07 is the default")
    if not 0 <= config.quantizer.mask < 1:
        raise ValueError(f"quantizer.mask={config.quantizer.mask} is a fraction; wanted 0 <= mask < 1")
    lora = config.model.lora
    if lora.rank < 0 or not 0 <= lora.dropout < 1:
        raise ValueError(
            f"model.lora has rank={lora.rank} and dropout={lora.dropout}; wanted rank >= 0 and 0 <= dropout < 1"
        )
    if config.model.init_from and (pathlib.Path(config.model.init_from) / "jaxrec.json").is_file():
        raise ValueError(
            f"model.init_from={config.model.init_from} is the export of a run, whose tokenizer already holds id "
            "tokens; start from the model that run started from, or continue the run itself"
        )
