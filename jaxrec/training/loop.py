"""`fit`, the training loop of all models."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import grain
import jax
import jax.numpy as jnp
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrec.files import locked_folder
from jaxrec.training import sharding
from jaxrec.training.checkpoint import Checkpoints
from jaxrec.training.feed import Count, Feed
from jaxrec.training.interrupt import Interrupt
from jaxrec.training.journal import Journal
from jaxrec.training.plan import Plan
from jaxrec.training.selection import Selection
from jaxrec.training.state import LossWithMemory, PureLoss, TrainState, Tree
from jaxrec.training.writer import Record

Validate = Callable[[Tree, Tree], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A finished run.

    Attributes:
      state: the state after the last step.
      buffers: the buffers of the loss.
      best_params: parameters of the best validation (their average with `Plan.average`); the last without validation.
      history: records as in metrics.jsonl, oldest first.
      stopped: whether it ended early because validation no longer improved.
    """

    state: TrainState
    buffers: Tree
    best_params: Tree
    history: list[Record]
    stopped: bool


def make_step(loss_fn: PureLoss | LossWithMemory, optimizer: optax.GradientTransformation, average: float = 0.0):
    """The pure step(state, buffers, batch) -> (state, metrics).

    Adds `loss` and `gradient_norm` (before clipping) to the metrics. With `average`, the state's average moves towards
    the parameters with this decay, in the first steps with (1 + step) / (10 + step), so that the start is forgotten.
    """

    def step(state: TrainState, buffers: Tree, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(state.key, state.step)
        if isinstance(loss_fn, LossWithMemory):
            (loss, metrics), gradients, memory = loss_fn.gradients(state.params, state.memory, buffers, batch, key)
            state = dataclasses.replace(state, memory=memory)
        else:
            differentiate = jax.value_and_grad(loss_fn, has_aux=True)
            (loss, metrics), gradients = differentiate(state.params, buffers, batch, key)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "loss": loss, "gradient_norm": optax.tree.norm(gradients)}
        state = dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state)
        if average:
            decay = jnp.minimum(average, state.step / (9 + state.step))
            moved = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.average, params)
            state = dataclasses.replace(state, average=moved)
        return state, metrics

    return step


def initial_state(
    params: Tree,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    mesh: Mesh,
    rules: sharding.Rules,
    *,
    averaged: bool = False,
) -> TrainState:
    """The initial state, with copies of `params`, sharded over the mesh; moments are created sharded."""
    params = sharding.put(params, sharding.shardings(params, mesh, rules))
    placed = jax.tree.map(lambda x: x.sharding, params)
    shapes = jax.eval_shape(optimizer.init, params)
    opt_state = jax.jit(optimizer.init, out_shardings=sharding.follow(shapes, params, placed, mesh))(params)
    everywhere = NamedSharding(mesh, PartitionSpec())
    step, key = sharding.put((jnp.int32(0), key), (everywhere, everywhere))
    return TrainState(step, params, opt_state, key, jax.tree.map(jnp.copy, params) if averaged else None)


def fit(
    loss_fn: PureLoss | LossWithMemory,
    params: Tree,
    buffers: Tree,
    optimizer: optax.GradientTransformation,
    data: grain.IterDataset,
    plan: Plan,
    *,
    key: jax.Array,
    folder: str | os.PathLike[str] | None = None,
    count: Count | None = None,
    validate: Validate | None = None,
) -> Fitted:
    """Trains for `plan.steps` steps, or until validation no longer improves.

    A run with a folder resumes from its newest checkpoint, with losses that are bit for bit those of an uninterrupted
    run; a finished one returns its result at once. SIGINT or SIGTERM finishes the step, saves and exits.

    Args:
      loss_fn: loss_fn(params, buffers, batch, key) -> (scalar f32[], metrics of scalars), pure, traced once; or one
        that brings its own gradients and a memory.
      params: a pytree of float32 arrays; copied, so that the caller's arrays are not donated.
      buffers: constant inputs of the loss, without gradients; not copied if already on the device, saved once.
      optimizer: see `make_optimizer`.
      data: yields pytrees of numpy arrays, this process's rows of each global batch; at least `plan.steps` of them. Its
        iterator's state must be the same in every process, as with `jaxrec.data.packing.packed`.
      plan: length, validation, selection, checkpoints and devices.
      key: the training stream's key; step n draws from fold_in(key, n).
      folder: gets checkpoints/, metrics.jsonl and tensorboard/; None keeps everything in memory.
      count: count(batch) -> {"examples": n, "tokens": m} of a process's rows, logged per second.
      validate: validate(params, buffers) -> {metric: value}; must not donate them. None selects by the mean training
        loss since the last validation, named "loss".
    Returns:
      Fitted; `best_params` are of the best validation.
    Raises:
      ValueError: an argument is out of range, the data ended early, `select` is no metric of `validate`, or the
        folder's checkpoints are of another model.
      FloatingPointError: loss or gradient was not finite; the last checkpoint is older.
      InUseError: another process trains into the folder.
      SystemExit: a signal was received; the state is saved, unless a validation took too long.
      OutOfTimeError: the `jaxrec.training.interrupt.time_limit` around it has ended; the state is saved.
    """
    mesh, steps = plan.mesh or sharding.single_device_mesh(), plan.steps
    folder = pathlib.Path(folder) if folder is not None else None
    state = initial_state(params, optimizer, key, mesh, plan.rules, averaged=plan.average > 0)
    buffers = sharding.put(buffers, sharding.shardings(buffers, mesh, plan.rules), copies=False)
    if isinstance(loss_fn, LossWithMemory):
        memory = jax.jit(loss_fn.init)(state.params, buffers)
        state = dataclasses.replace(state, memory=sharding.put(memory, sharding.shardings(memory, mesh, plan.rules)))
    selection = Selection(plan.select, plan.mode, plan.patience)
    start, stopped, position, best_params = 0, False, None, None
    with contextlib.ExitStack() as stack:
        if folder and jax.process_index() == 0:
            stack.enter_context(locked_folder(folder))
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(folder / "checkpoints"))) if folder else None
        restored = checkpoints.restore(state, buffers) if checkpoints else None
        if restored:
            state, buffers, position = restored.state, restored.buffers, restored.position
            start, stopped = restored.step, restored.meta["stopped"]
            selection.resume(restored.meta)
        journal = stack.enter_context(contextlib.closing(Journal(plan.name, folder, steps, start, plan.log_every)))
        if restored:
            journal.resume(restored.meta)
            if lost := restored.meta.get("records", 0) - len(journal.writer.records):
                journal.say(f"metrics.jsonl has lost {lost} of its lines; curves will lack those points")
            journal.say(
                f"{restored.warning}{'done' if start >= steps or stopped else 'goes on'} at step {start} in {folder}"
            )

        feed = Feed(data, mesh, count, position)
        placed = jax.tree.map(lambda x: x.sharding, state), NamedSharding(mesh, PartitionSpec())
        train_step = jax.jit(make_step(loss_fn, optimizer, plan.average), donate_argnums=0, out_shardings=placed)
        interrupt = stack.enter_context(Interrupt(plan.name))
        step, saved, saved_at = start, start, time.monotonic()
        while step < steps and not stopped:
            batch, counts = feed.next()
            with sharding.tracing_over(mesh):
                state, metrics = train_step(state, buffers, batch)
            step += 1
            if step == start + 1:
                journal.restart_clock()  # the first call compiled
            try:
                journal.add(step, metrics, counts)
                validates = plan.validate_every > 0 and (step % plan.validate_every == 0 or step == steps)
                stop = interrupt.reason(step)
                overdue = step % plan.log_every == 0 and _agreed(
                    time.monotonic() - saved_at > 60 * plan.checkpoint_minutes
                )
                if not (validates or stop or overdue or step == steps):
                    continue
                journal.drain()  # check that all is finite before validating or saving
            except FloatingPointError as error:
                if checkpoints and saved:
                    error.add_note(f"the last checkpoint, from before, is step {saved} in {folder}")
                raise

            if validates:
                with interrupt.long_part():
                    validation = validate(state.kept, buffers) if validate else {"loss": journal.mean_loss()}
                better = selection.update(step, validation)
                stopped = selection.exhausted
                journal.log_validation(step, validation, "valid/" if validate else "mean_")
                if better and not checkpoints:
                    best_params = jax.tree.map(jnp.copy, state.kept)
            if checkpoints:
                meta = {**selection.progress(), **journal.sums(), "stopped": stopped}
                meta["records"] = len(journal.writer.records)
                checkpoints.save(step, state, buffers, feed.position, meta)
                saved, saved_at = step, time.monotonic()
            journal.restart_clock()
            if stop:
                where_saved = f"saved in {folder}; the same command goes on from here" if folder else "nothing is saved"
                journal.say(f"stopped after step {step} of {steps}; {where_saved}")
                raise stop

        if selection.best_step in (None, step):
            best_params = state.kept
        elif checkpoints:
            best_params = checkpoints.params(selection.best_step, state.params)
        return Fitted(state, buffers, best_params, journal.writer.records, stopped)


def _agreed(decision: bool) -> bool:
    """The first process's decision; clocks differ, and a checkpoint is written by all or none."""
    return decision if jax.process_count() == 1 else bool(multihost_utils.broadcast_one_to_all(decision))
