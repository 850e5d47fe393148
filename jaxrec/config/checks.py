"""Checks that need nothing but the config: values out of range, and settings that contradict each other."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxrec.config.config import Config
from jaxrec.config.data import LightGcnConfig
from jaxrec.config.limits import check_limits
from jaxrec.config.models import ModelConfig
from jaxrec.config.tasks import NO_AUGMENTATION, EvalConfig


def check_config(config: Config) -> None:
    """Checks that all values are in range and that no two settings contradict each other.

    Raises:
      ValueError: a value is out of range or two settings contradict each other; the message names the field and what
        to set instead.
    """
    check_limits(config)
    if not config.name:
        raise ValueError("name is empty; it names the run in tables and its folder")
    check_lightgcn(config.lightgcn, "lightgcn")
    check_lightgcn(config.gtn, "gtn")
    _check_tasks(config)
    _check_protocol(config)
    _check_model(config)


def check_eval(overrides: Mapping[str, Any]) -> None:
    """Checks eval settings that replace those of a trained run.

    Raises:
      ValueError: there is no such setting, or a value is out of range.
    """
    known = [field.name for field in dataclasses.fields(EvalConfig)]
    if unknown := sorted(set(overrides) - set(known)):
        raise ValueError(f"eval has no setting {', '.join(unknown)}; it has {', '.join(known)}")
    check_limits(dataclasses.replace(EvalConfig(), **overrides), "eval")


def check_lightgcn(settings: LightGcnConfig, path: str) -> None:
    """Checks the settings of LightGCN, GTN or matrix factorisation, of an embedder or a baseline.

    Args:
      settings: what is checked.
      path: their name in messages.

    Raises:
      ValueError: a value is out of range, or a loss is repeated; the message names the field and what to set instead.
    """
    check_limits(settings, path)
    names = " ".join(settings.losses)
    if not settings.losses or len(set(settings.losses)) < len(settings.losses):
        raise ValueError(f"{path}.losses={names!r} must name one or more losses, each once, such as: bpr in_batch")
    if len(settings.losses) > 1 and not settings.validate_every:
        raise ValueError(
            f"{path}.losses={names!r} are chosen among by validation, and validate_every is 0; name one loss, or "
            "set validate_every to 5"
        )


def _check_tasks(config: Config) -> None:
    task = config.task
    if not task.tasks:
        raise ValueError("task.tasks names no task; give at least one: --task.tasks sequential direct")
    for name in task.tasks:
        task.weight(name)
    if task.augment != NO_AUGMENTATION and not task.autoregressive:
        raise ValueError(
            "task.augment varies histories of task 'autoregressive' alone; set --task.tasks autoregressive"
        )
    if task.prompt_vectors and (task.autoregressive or config.eval.prompt != "seen"):
        raise ValueError(
            f"task.prompt_vectors={task.prompt_vectors} replaces the words of answered prompts: there is no unseen "
            "template then, and task 'autoregressive' has none; set eval.prompt seen, other tasks, or prompt_vectors 0"
        )
    _check_collaborative_tokens(config)
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
    if config.ids.users == "none" and "direct" in task.tasks and not task.collaborative_tokens.hidden:
        raise ValueError("task 'direct' needs user ids; set ids.users to static or causal, or --task.tasks sequential")


def _check_collaborative_tokens(config: Config) -> None:
    if not config.task.collaborative_tokens.hidden:
        return
    reasons = {
        "task autoregressive": config.task.autoregressive,
        "answer vector": config.answer == "vector",
        "ids.users causal": config.ids.users == "causal",
        "train.members above 1": config.train.members > 1,
    }
    for setting, is_set in reasons.items():
        if is_set:
            raise ValueError(
                "task.collaborative_tokens stand in prompts whose answer is an id or a text, behind items and users "
                f"of fixed vectors, in a single model: they don't go with {setting}; change that, or set "
                "task.collaborative_tokens.hidden 0"
            )


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
    if train.members > 1 and (config.answer == "vector" or config.task.writing):
        raise ValueError(
            f"train.members={train.members}: only models that answer with ids, and write nothing, have members; set "
            "train.members 1"
        )


def _check_sizes(model: ModelConfig) -> None:
    """Checks sizes that depend on each other, within T5, LLaMA and the filter."""
    t5, llama, rope = model.t5, model.llama, model.llama.rope
    if t5.buckets % 2:
        raise ValueError(f"model.t5.buckets is {t5.buckets}; it must be even, as each direction has half of them")
    if t5.max_distance <= t5.buckets // 2:
        raise ValueError(
            f"model.t5.max_distance is {t5.max_distance}; it must be above half of the {t5.buckets} buckets, which are "
            "taken by single distances"
        )
    if llama.heads % llama.kv_heads:
        raise ValueError(f"model.llama.kv_heads is {llama.kv_heads}; it must divide the {llama.heads} heads")
    if llama.d_kv % 2:
        raise ValueError(f"model.llama.d_kv is {llama.d_kv}; it must be even, as rotary positions turn pairs")
    if llama.windowed and max(llama.windowed) >= llama.layers:
        raise ValueError(
            f"model.llama.windowed names layer {max(llama.windowed)}; the {llama.layers} layers are counted from 0"
        )
    if model.filter.weight and model.backbone != "item_decoder":
        raise ValueError(
            f"model.filter.weight is {model.filter.weight}; only the backbone item_decoder has a filter, and this is "
            f"{model.backbone}; set it to 0"
        )
    if 2 * model.filter.frequencies >= model.filter.period:
        raise ValueError(
            f"model.filter.frequencies is {model.filter.frequencies}; {model.filter.period} positions have fewer than "
            f"{(model.filter.period + 1) // 2} frequencies beside the mean"
        )
    if rope.low >= rope.high or rope.beta_slow >= rope.beta_fast:
        raise ValueError("model.llama.rope: low must be below high, and beta_slow below beta_fast")


def _check_item_head(config: Config) -> None:
    head = config.item_head
    if not config.task.autoregressive:
        raise ValueError(
            "answer 'both' reads histories item by item, as task 'autoregressive' does; set --task.tasks autoregressive"
        )
    if head.mask_seen and not config.eval.mask_seen:
        raise ValueError(
            "item_head.mask_seen teaches nothing about seen items, but without eval.mask_seen they are ranked"
        )
    if head.weight + head.id_weight == 0:
        raise ValueError("item_head.weight and id_weight are 0, and no loss is left; set one of them above 0")


def _check_protocol(config: Config) -> None:
    if config.protocol == "as-released" and config.data.split != "strict":
        raise ValueError("protocol 'as-released' is leave-one-out with a leak; set data.split strict")
    if config.protocol == "as-released" and (config.data.unseen_users or config.data.unseen_items):
        raise ValueError("protocol 'as-released' embeds every event, so nobody is unseen; set data.unseen_users 0")


def _check_model(config: Config) -> None:
    _check_members(config)
    _check_sizes(config.model)
    if config.answer == "vector" and config.train.target_length % 2:
        raise ValueError(f"train.target_length={config.train.target_length}: an example takes two; give an even number")
    if config.answer == "both":
        _check_item_head(config)
    if config.answer != "vector" and config.eval.beams < 10:
        raise ValueError(
            f"eval.beams={config.eval.beams} can't list ten items, which validation by NDCG@10 needs; set at least 10"
        )
    if config.model.init_from and (pathlib.Path(config.model.init_from) / "jaxrec.json").is_file():
        raise ValueError(
            f"model.init_from={config.model.init_from} is the export of a run, whose tokenizer already holds id "
            "tokens; start from the model that run started from, or continue the run itself"
        )
