"""Exports a system as a folder that recommends with transformers alone: model, ids, prompts, script and samples."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from typing import Any, Literal

import jax
import numpy as np
import transformers
from flax import nnx

from jaxrec import __version__
from jaxrec.evaluate.seen_items import seen_rows
from jaxrec.export import model_folder as hub
from jaxrec.export.adapter import base_of
from jaxrec.export.card import card
from jaxrec.export.tables import write_json, write_samples, write_tsv
from jaxrec.files import read_kept
from jaxrec.hub.registry import language_model
from jaxrec.keys import generator
from jaxrec.models.collaborative_tokens import CollaborativeTokens
from jaxrec.models.retriever import Retriever
from jaxrec.system.system import System
from jaxrec.tasks.ragged import shuffle_rows
from jaxrec.tasks.ranking_examples import recent_events
from jaxrec.tasks.templates import answered_template, without_user
from jaxrec.tokenizers.vocabulary import PLACEHOLDER, safe_tokenizer
from jaxrec.types import Codes

K = 10
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.03}
"""Maximum difference between scores of transformers and jaxrec; bfloat16 rounds the encoder's table once more."""


def export(
    system: System,
    out: str | os.PathLike[str],
    *,
    dtype: Literal["float32", "bfloat16"] = "float32",
    shard_gb: float = 5.0,
    samples: int = 64,
    adapter: bool = False,
) -> pathlib.Path:
    """Exports a trained system as a folder that transformers loads without jaxrec.

    Args:
      system: with the users and items of its store; see `newcomers.served`.
      out: folder to create; an existing one must be empty.
      dtype: of the stored weights.
      shard_gb: maximum size of a weight file in GB; larger weights are split into shards.
      samples: number of users whose recommendations are stored, for recommend.py --check.
      adapter: store LoRA factors instead of merged weights.
    Returns:
      The folder.
    Raises:
      ValueError: the folder exists and is not empty, an argument is out of range, `adapter` is set for a run without
        LoRA or with bfloat16, the run ranks no items, no user has a history, or the stored tokenizer gives other tokens
        than in training. The folder is then not created.
    """
    if samples < 1 or not shard_gb > 0:
        raise ValueError(f"samples={samples} and shard_gb={shard_gb} must both be above 0")
    if adapter and dtype != "float32":
        raise ValueError("an adapter is stored in float32; leave --dtype out, or export merged weights")
    if adapter:
        hub.check_adaptable(system.model)
    if not system.config.task.ranking:
        raise ValueError(
            f"{system.folder} ranks no items, and an export recommends; train it with task sequential, too"
        )
    if not len(system.histories.items):
        raise ValueError(f"nobody of {system.folder} has a history, so there is nobody to store lists of")
    part = hub.begin(out)
    try:
        _write(part, system, dtype, shard_gb, samples, adapter=adapter)
        return hub.finish(part, out)
    except BaseException:
        hub.abandon(part)
        raise


def _write(
    part: pathlib.Path,
    system: System,
    dtype: Literal["float32", "bfloat16"],
    shard_gb: float,
    samples: int,
    *,
    adapter: bool,
) -> None:
    """Writes all files of an export."""
    about = _about(system, dtype) | {"adapter": adapter, "base": base_of(system.config.model.init_from)}
    config, users = system.config, range(system.histories.n_users)
    hub.write_model(
        part,
        system.model,
        system.vocabulary,
        _generation(system),
        dtype=dtype,
        shard_bytes=max(1, round(shard_gb * 1e9)),
        adapter=adapter,
        base=config.model.init_from,
    )
    if isinstance(system.model, Retriever):
        hub.write_items(part, np.asarray(system.model.place(system.embedding.vectors.item)))
    write_json(part / hub.ABOUT, about)
    codes = system.user_codes(system.histories, np.asarray(users))
    data, numbers = system.data, [" ".join(map(str, system.histories.of(user).tolist())) for user in users]
    ids = [system.item_name(item) for item in range(data.n_items)]
    names_of_users, names_of_items = {"id": [system.user_name(codes, user) for user in users]}, {"id": ids}
    if (tokens := _collaborative(system)) is not None:
        hub.write_vector_tokens(part, tokens, system.embedding.vectors)
        names_of_users["mention"] = [_user_mention(system, codes, user) for user in users]
        names_of_items["mention"] = [_item_mention(system, item) for item in range(data.n_items)]
    write_tsv(part / "users.tsv", {"name": data.user_names.tolist(), **names_of_users, "history": numbers})
    titles = data.titles().tolist()
    write_tsv(part / "items.tsv", {"name": data.item_names.tolist(), "title": titles, **names_of_items})
    sample_lists = _samples(_stored(system, part, adapter=adapter), about, codes, samples)
    write_samples(part, sample_lists, K, TOLERANCE[dtype])
    _check_tokens(part, system, about, ids, sample_lists)
    results_file = system.folder / "results.json"
    remedy = "delete it, and the run's train command measures anew"
    results = read_kept(results_file, "json", remedy) if results_file.is_file() else None
    text = card(about, results, name=config.name, example=_example(system, about, codes))
    (part / "README.md").write_text(text, encoding="utf-8")


def _about(system: System, dtype: str) -> dict[str, Any]:
    """The content of jaxrec.json."""
    config, model = system.config, system.model
    about = hub.describe(model, system.vocabulary, dtype)
    tasks, vectors, has_vectors = {}, config.task.prompt_vectors, bool(config.task.collaborative_tokens.hidden)
    users = "vector" if config.ids.users == "none" and has_vectors else config.ids.users
    for task in config.task.ranking:
        template = answered_template(task, seen=config.eval.prompt != "unseen", vectors=vectors)
        template = without_user(template) if users == "none" else template
        tasks[task] = {
            "template": template.source,
            "max_history": config.task.max_history if "history" in template.slots else 0,
            "shuffled": config.task.shuffle and task == "collaborative",
        }
    about |= {
        "method": system.name,
        "answer": config.answer,
        "tasks": tasks,
        "writing": {task: answered_template(task, vectors=vectors).source for task in config.task.writing},
        "prompt_end": _start_text(system) if about["decoder_only"] else "",
        "users": users,
        "vector_tokens": has_vectors,
        "mask_seen": config.eval.mask_seen,
        "beams": config.eval.beams,
        "id_tokens": system.answer_tokens.shape[1],
        "n_users": system.data.n_users,
        "n_items": system.data.n_items,
        "data": config.data.name,
        "protocol": system.split.protocol,
        "seed": config.seed,
        "versions": {"jaxrec": __version__, "jax": jax.__version__, "transformers": transformers.__version__},
    }
    if isinstance(model, Retriever):
        about |= {"decoder_tokens": np.asarray(model.prompt[...]).tolist(), "pooling": model.config.pooling}
    return about


def _start_text(system: System) -> str:
    """The token between a prompt and its answer, as text."""
    return str(system.vocabulary.tokenizer.convert_ids_to_tokens(language_model(system.model).start))


def _generation(system: System) -> dict[str, Any]:
    """The content of generation_config.json: `generate` then searches as jaxrec does, but without excluding items."""
    vocabulary = system.vocabulary
    pad = vocabulary.tokenizer.pad_token_id
    settings = {"eos_token_id": vocabulary.end, "pad_token_id": vocabulary.end if pad is None else pad}
    model, record, _ = hub.exportable(system.model)
    if not record.decoder_only:
        settings["decoder_start_token_id"] = model.start
    if not isinstance(system.model, Retriever):
        settings |= {"num_beams": system.config.eval.beams, "max_new_tokens": system.answer_tokens.shape[1]}
        settings |= {"length_penalty": 0.0, "do_sample": False}
    return settings


def _stored(system: System, part: pathlib.Path, *, adapter: bool) -> System:
    """The system with the weights as they were stored, computing in float32 and recommending by beam search."""
    whole, tokens = language_model(system.model), _collaborative(system)
    bare = whole if tokens is None else whole.with_collaborative(None)
    model = stored = hub.in_float32(bare) if adapter else hub.read(part, "float32")
    if tokens is not None:
        model = stored.with_collaborative(tokens)
    if isinstance(system.model, Retriever):
        model = nnx.clone(system.model)
        model.backbone, model.project.dtype = stored, "float32"
    config = system.config
    config = dataclasses.replace(
        config,
        eval=dataclasses.replace(config.eval, recommender="beam"),
        train=dataclasses.replace(config.train, model_parallel=1),  # the stored model is read onto one device
    )
    return dataclasses.replace(system, config=config, model=model)


def _samples(system: System, about: dict[str, Any], codes: Codes | None, n_samples: int) -> list[dict[str, Any]]:
    """Prompts, excluded items and recommendations of the main task, for users sampled with the run's seed."""
    histories, config, n_items = system.histories, system.config, system.data.n_items
    task = next(iter(about["tasks"]))
    active = np.flatnonzero(np.diff(histories.offsets))
    users = generator(config.seed, "exported samples").permutation(active)[:n_samples]
    width = int(np.diff(histories.offsets)[users].max())
    seen = seen_rows(histories, users, width) if about["mask_seen"] else np.full((len(users), 1), -1, np.int32)
    source = system.asker(histories, codes, task, "unseen" if config.eval.prompt == "unseen" else "seen")(users)
    top = system.recommender(source, seen, min(K, n_items))
    texts = _texts(system, about["tasks"][task], codes, users)
    samples = []
    for row, user in enumerate(users.tolist()):
        listed = top.items[row] >= 0
        samples.append(
            {
                "user": str(system.data.user_names[user]),
                "line": user,
                "prompt": texts[row],
                "tokens": [
                    *source[row][source[row] != 0].tolist(),
                    *([about["vocabulary"]["start"]] * _end_tokens(about)),
                ],
                "seen": [item for item in seen[row].tolist() if item >= 0],
                "items": top.items[row][listed].tolist(),
                "scores": top.scores[row][listed].tolist(),
            }
        )
    return samples


def _end_tokens(about: dict[str, Any]) -> int:
    """Number of tokens after a prompt: one for a decoder-only model, which marks the start of the answer, else none."""
    return int(bool(about["prompt_end"]))


def _texts(system: System, task: dict[str, Any], codes: Codes | None, users: np.ndarray) -> list[str]:
    """The prompts of some users as text."""
    latest = recent_events(system.histories, users, task["max_history"])
    numbers, offsets = shuffle_rows(latest, np.full(len(users), task["shuffled"]), users.astype(np.uint64))
    items = system.histories.items[numbers]
    texts = []
    for row, user in enumerate(users.tolist()):
        history = " ".join(_item_mention(system, item) for item in items[offsets[row] : offsets[row + 1]].tolist())
        texts.append(task["template"].format(user=_user_mention(system, codes, user), history=history))
    return texts


def _example(system: System, about: dict[str, Any], codes: Codes | None) -> dict[str, Any]:
    """An example prompt, and the items of its history, which is no user's, as the model card is public."""
    task = next(iter(about["tasks"].values()))
    items = [*range(min(3, system.data.n_items, task["max_history"]))]
    history = " ".join(_item_mention(system, item) for item in items)
    return {"prompt": task["template"].format(user=_user_mention(system, codes, 0), history=history), "seen": items}


def _item_mention(system: System, item: int) -> str:
    """An item as prompts mention it: its id and, with collaborative tokens, the name of its vector."""
    vector = f"<Vector:i{item}>" if system.config.task.collaborative_tokens.hidden else ""
    return system.item_name(item) + vector


def _user_mention(system: System, codes: Codes | None, user: int) -> str:
    """As `_item_mention`, of a user; "" without user ids."""
    vector = f"<Vector:u{user}>" if codes is not None and system.config.task.collaborative_tokens.hidden else ""
    return system.user_name(codes, user) + vector


def _collaborative(system: System) -> CollaborativeTokens | None:
    """The collaborative tokens of the system, if it has any, computing in float32."""
    tokens = None if isinstance(system.model, Retriever) else system.current_model.collaborative
    if tokens is None:
        return None
    copy = nnx.clone(tokens)
    copy.dtype = "float32"
    return copy


def _check_tokens(
    part: pathlib.Path, system: System, about: dict[str, Any], ids: list[str], samples: list[dict[str, Any]]
) -> None:
    """Raises ValueError if the stored tokenizer gives other tokens for a prompt or an id than in training."""
    tokenizer = safe_tokenizer(part)
    placeholder, size = tokenizer.convert_tokens_to_ids(PLACEHOLDER), about["vocabulary"]["size"]
    prompts = [re.sub(r"<Vector:\w+>", PLACEHOLDER, sample["prompt"]) + about["prompt_end"] for sample in samples]
    tokens_of_prompts = [[t if t < size else placeholder for t in sample["tokens"]] for sample in samples]
    for name, texts, tokens in (
        ("prompt", prompts, tokens_of_prompts),
        ("item", ids, system.item_tokens.tolist()),
    ):
        encoded = tokenizer(texts, add_special_tokens=name == "prompt")["input_ids"]
        for text, actual, expected in zip(texts, encoded, tokens, strict=True):
            if actual != expected:
                raise ValueError(
                    f"the stored tokenizer makes {actual[:12]}... of the {name} {text[:60]!r}, the model was trained "
                    f"on {expected[:12]}..."
                )
