"""Trains and validates a run's model, and restores its best weights."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from jaxrec.data.packing import Examples, Packed, count_examples, packed
from jaxrec.embedders.fold_in import before_each_event
from jaxrec.evaluate.validation import validation_metrics, validation_users
from jaxrec.files import read_kept, write_kept
from jaxrec.hub.registry import backbone
from jaxrec.keys import stream
from jaxrec.models.losses import loss_of
from jaxrec.models.members import each_member, of_members
from jaxrec.system import text_examples as writing
from jaxrec.system.system import System
from jaxrec.system.training_stages import Stage, stages_of
from jaxrec.tasks.autoregressive_examples import AutoregressiveExamples
from jaxrec.tasks.ranking_examples import RankingExamples
from jaxrec.tasks.writing_examples import MixedExamples
from jaxrec.training.checkpoint import restore_best
from jaxrec.training.loop import Fitted, fit
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.plan import Plan
from jaxrec.training.sharding import make_mesh, share_of_data
from jaxrec.training.state import functional, rebuilder
from jaxrec.types import DataError

TABLES = (
    (r"^items$", PartitionSpec("model", None)),
    (r"collaborative/(items|users)$", PartitionSpec("model", None)),
)
"""Vectors of a retriever's items and of collaborative tokens are sharded over the mesh's `model` axis; the small
network that embeds the latter is not."""


def train_model(system: System) -> tuple[System, Fitted]:
    """Trains the model, or resumes interrupted training.

    A model that generates ids minimises the negative log-likelihood of the answer tokens (META ID, eq. 8); one that
    outputs vectors minimises `retrieval.loss` (TokenRec, eq. 20, or a softmax over similarities).

    Args:
      system: with initial weights.
    Returns:
      The system with the best weights by validation, and the record of the training.
    Raises:
      ValueError: train.rows is not a multiple of the mesh's data axis.
      DataError: the ids were edited after training began, or a file of the run is damaged.
      FloatingPointError: loss or gradient became NaN or infinite.
    """
    settings = system.config.train
    mesh = make_mesh(settings.data_parallel, settings.model_parallel)
    if settings.rows % mesh.shape["data"]:
        raise ValueError(
            f"train.rows={settings.rows} doesn't divide over the {mesh.shape['data']} devices of the mesh's data axis; "
            "give a multiple, or lower train.data_parallel"
        )
    _check_ids_unchanged(system)
    process_index, process_count = share_of_data(mesh)
    data = packed(
        [_all_examples(system, member) for member in range(settings.members)],
        rows=settings.rows,
        source_length=settings.source_length,
        target_length=settings.target_length,
        seed=system.config.seed,
        process_index=process_index,
        process_count=process_count,
    )
    steps = settings.steps or round(settings.epochs * data.steps_per_epoch)
    system.say(f"training: {steps} steps of {settings.rows} packed rows, {data.steps_per_epoch} an epoch")
    fitted = None
    for stage in stages_of(system.config.task.collaborative_tokens, steps):
        system = dataclasses.replace(system, model=stage.begin(system.model, system.embedding.vectors))
        system, fitted = _fit(system, stage, data, mesh)
    assert fitted is not None
    return system, fitted


def _fit(system: System, stage: Stage, data: Packed, mesh: Mesh) -> tuple[System, Fitted]:
    """Trains a stage of the model, or resumes it: the system with the best weights, and the record of the training."""
    settings = system.config.train
    loss, optimizer = loss_of(system.config).make(settings), make_optimizer(settings, stage.steps)
    rules = (*backbone(system.config.model.backbone).sharding(settings.fsdp), *TABLES)
    if settings.members > 1:
        loss, optimizer = of_members(loss), each_member(optimizer)
        rules = tuple((pattern, PartitionSpec(None, *spec)) for pattern, spec in rules)
    params, buffers, loss_fn = functional(system.model, loss, stage.trained)
    rebuild = rebuilder(system.model)
    ranks, writes = bool(system.config.task.ranking), system.events is not None
    recommender = system.recommender if ranks else None  # compiled once; every validation sets new weights
    validate_texts = writing.validator(system, loss_fn) if writes else None

    def validate_with(params, buffers) -> dict[str, float]:
        metrics = {}
        if recommender is not None:
            recommender.model = rebuild(params, buffers)
            metrics |= validate_ranking(system)
        return metrics | (validate_texts(params, buffers) if validate_texts else {})

    select = ("ndcg@10" if ranks else "nll") if settings.select == "auto" else settings.select
    fitted = fit(
        loss_fn,
        params,
        buffers,
        optimizer,
        data,
        Plan(
            stage.steps,
            name=stage.name,
            validate_every=max(1, round(settings.validate_every * data.steps_per_epoch)),
            select=select,
            mode="min" if select == "nll" else "max",
            patience=settings.patience,
            checkpoint_minutes=settings.checkpoint_minutes,
            log_every=settings.log_every,
            mesh=mesh,
            average=settings.average,
            rules=rules,
        ),
        key=stream(system.key, stage.name),
        folder=system.folder / stage.folder,
        count=count_examples,
        validate=validate_with,
    )
    return dataclasses.replace(system, model=rebuild(fitted.best_params, fitted.buffers)), fitted


def restore(system: System) -> System:
    """The system with the best weights of the run's checkpoints.

    Raises:
      DataError: there is no checkpoint yet, the ids were edited after training began, or a file is damaged.
    """
    _check_ids_unchanged(system)
    *_, last = stages_of(system.config.task.collaborative_tokens, steps=2)
    _, params, buffers = nnx.split(system.model, last.trained, ...)
    params, buffers = restore_best(system.folder, params, buffers)
    return dataclasses.replace(system, model=rebuilder(system.model)(params, buffers))


def _all_examples(system: System, member: int = 0) -> Examples:
    """Training examples of all tasks of the run, of one member of an ensemble."""
    parts = []
    if system.config.task.ranking:
        parts.append(training_examples(system, member))
    if system.events is not None:
        examples = writing.examples(system, system.events.train)
        parts.append(examples)
        for column, n in examples.questions.truncated.items():
            if n:
                system.say(
                    f"{n:,} events have a {column} of more tokens than are kept (task.max_text, task.max_answer)"
                )
    return parts[0] if len(parts) == 1 else MixedExamples(*parts)


def training_examples(system: System, member: int = 0) -> RankingExamples | AutoregressiveExamples:
    """Examples of the ranking tasks, from training events only, under every protocol."""
    config, train = system.config, system.split.train
    codes, user_rows = system.user_codes(train, np.arange(train.n_users)), "users"
    if config.ids.users == "causal":
        user_vectors = before_each_event(train, system.embedding.vectors.item)
        codes = system.ids.user_codes(user_vectors)
        user_rows = "events"
    user_tokens = None if codes is None else system.vocabulary.ids("<User>", codes).tokens
    if config.task.autoregressive:
        return AutoregressiveExamples(
            system.vocabulary,
            system.item_tokens,
            train,
            user_tokens,
            task=config.task,
            seed=config.seed,
            member=member,
        )
    return RankingExamples(
        system.vocabulary,
        system.item_mentions,
        train,
        user_tokens,
        user_rows=user_rows,
        answer=config.answer,
        task=config.task,
        seed=config.seed,
    )


def validate_ranking(system: System) -> dict[str, float]:
    """Ranking metrics on the validation items of a fixed sample of users."""
    config = system.config
    users = validation_users(system.split, config.train.validate_users, config.seed, stream="validation users")
    return validation_metrics(system.measure("valid", users=users).ranks)


def _check_ids_unchanged(system: System) -> None:
    """Checks that the ids are those that training began with, by a hash that the first call stores.

    Raises:
      DataError: the ids were edited after training began.
    """
    file = system.folder / "trained_ids.sha256"
    rows = [np.ascontiguousarray(ids.codes.values).tobytes() for ids in (system.ids.users, system.ids.items)]
    digest = hashlib.sha256(b"".join(rows)).hexdigest()
    if not file.is_file():
        write_kept(file, digest + "\n")
    elif read_kept(file, "text", "put it back, or delete it if you trust the ids in ids/").strip() != digest:
        raise DataError(
            f"the ids in {system.folder / 'ids'}, users.txt or items.txt, were edited after training began, or are "
            "damaged; put them back, or train on them in a new folder: --out NEW, after copying ids/ into it"
        )
