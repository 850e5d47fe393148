"""The training of a learned quantizer: an epoch is one scan on the device, where all rows lie."""

from __future__ import annotations

import functools
import time
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config import QuantizerConfig
from jaxrec.keys import stream
from jaxrec.models import codebook
from jaxrec.models.masked_vq import Params
from jaxrec.progress import Progress
from jaxrec.types import Array

START_ROWS = 16384
"""Maximum number of rows from which codebooks are initialised."""
QUIET = 10.0
"""Seconds of training before its first progress line."""


class State(NamedTuple):
    """Training: step i32[], params, Adam's moments, and the codebooks' use."""

    step: Array
    params: Params
    moments: Any
    use: codebook.Use


def train_codebooks(
    rows: np.ndarray, model: ModuleType, config: QuantizerConfig, *, key: jax.Array, name: str
) -> Params:
    """Trains a model with codebooks on scaled rows f32[n,F], which stay on the device; gives the weights.

    Args:
      rows: what to learn from.
      model: a module with `init`, `start` and `loss`, as `jaxrec.models.masked_vq` has them.
      config: shape and training.
      key: random key.
      name: what progress lines call it.
    """
    x = jnp.asarray(rows)
    n, batch = len(rows), min(config.batch, len(rows))
    steps = n // batch  # rows that fill no batch wait for the next epoch's order
    params = model.init(rows.shape[1], config, key=stream(key, "weights"))
    start_rows = jax.random.permutation(stream(key, "start rows"), n)[:START_ROWS]
    params = model.start(params, x[start_rows], key=stream(key, "start"))
    moments = optimizer(config, steps).init(params)
    state = State(jnp.int32(0), params, moments, codebook.fresh_use(params["codebook"]))
    began = time.monotonic()
    with Progress(f"{name} epoch", config.epochs, quiet=QUIET) as progress:
        for epoch in range(config.epochs):
            key_of = jax.random.fold_in(stream(key, "epochs"), epoch)
            state, metrics = train_epoch(state, x, model=model, config=config, batch=batch, key=key_of)
            losses = "  ".join(f"{part} {float(value):.3g}" for part, value in metrics.items())  # waits for the device
            rate = (epoch + 1) * steps * batch / max(time.monotonic() - began, 1e-9)
            progress.update(epoch + 1, losses, {"rows": rate})
    return jax.device_get(state.params)


@functools.partial(jax.jit, static_argnames=("model", "config", "batch"), donate_argnums=0)
def train_epoch(
    state: State, rows: Array, *, model: ModuleType, config: QuantizerConfig, batch: int, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One pass over rows f32[n, F] in a fresh order, in batches; a pure function, one scan on the device.

    Returns:
      The state after n // batch steps; metrics of the losses' parts, means over the steps, and "revived", a sum.
    """
    steps = rows.shape[0] // batch
    order = jax.random.permutation(stream(key, "order"), rows.shape[0])[: steps * batch].reshape(steps, batch)
    loss = functools.partial(model.loss, config=config)
    adam = optimizer(config, steps)

    def step(state: State, at: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        draw = jax.random.fold_in(stream(key, "steps"), state.step)
        gradients, (metrics, encoded, codes) = jax.grad(loss, has_aux=True)(state.params, rows[at], key=draw)
        updates, moments = adam.update(gradients, state.moments, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        book, use = params["codebook"], state.use
        if config.ema > 0:
            book, use = codebook.follow(book, use, encoded, codes, config.ema)
        if config.revive > 0:
            book, use, back = codebook.revive(book, use, encoded, codes, state.step, config.revive)
            metrics["revived"] = back
        return State(state.step + 1, {**params, "codebook": book}, moments, use), metrics

    state, metrics = jax.lax.scan(step, state, order)
    revived = metrics.pop("revived", jnp.zeros(1, jnp.int32)).sum()
    return state, {**{part: value.mean() for part, value in metrics.items()}, "revived": revived}


def optimizer(config: QuantizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam; its rate rises for a twentieth of the steps, then falls to nothing along a cosine, so that codes settle."""
    total = max(config.epochs * steps, 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, max(total // 20, 1), max(total, 2))
    return optax.adam(rate)
