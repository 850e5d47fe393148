"""A training step of T5-small in float32: loss, gradients and AdamW on 16 x 128 tokens, beside transformers + torch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.t5 import T5
from jaxrec.types import Batch

name = "t5_step"
reach = 0.95
aim = 1.15

ROWS, SOURCE, TARGET = 16, 128, 16


def cases(quick: bool) -> tuple[Callable[[], None], Callable[[], None], float, str, str]:
    """Our step and the peer's over the same tokens, dropout 0.1; `quick`: one layer a stack, a small vocabulary."""
    config = T5Config(encoder_layers=1, decoder_layers=1, vocab=1024) if quick else T5Config()
    rng = np.random.default_rng(0)
    source = rng.integers(2, config.vocab, (ROWS, SOURCE)).astype(np.int32)
    target = rng.integers(2, config.vocab, (ROWS, TARGET)).astype(np.int32)
    note = (
        f"{ROWS} x {SOURCE} -> {TARGET}, {config.encoder_layers}+{config.decoder_layers} layers, float32, dropout 0.1"
    )
    return (
        our_step(config, source, target),
        torch_step(config, source, target),
        source.size + target.size,
        "tokens",
        note,
    )


def our_step(config: T5Config, source: np.ndarray, target: np.ndarray) -> Callable[[], None]:
    """One jitted, donated step; blocks until its parameters are computed."""
    model = T5(config, OovConfig("none"), None, config.vocab, rngs=nnx.Rngs(0))
    graph, params = nnx.split(model, nnx.Param)
    optimizer = optax.adamw(1e-3)
    ones = [np.ones_like(a) for a in (source, target)]
    batch = jax.device_put(Batch(source, ones[0], target, ones[1], ones[1].astype(np.float32)))

    def step(state: tuple, batch: Batch) -> tuple:
        params, moments, key, count = state

        def loss(params: nnx.State):
            return sequence_loss(nnx.merge(graph, params), batch, jax.random.fold_in(key, count))[0]

        updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments, key, count + 1

    compiled = jax.jit(step, donate_argnums=0)
    state = (params, optimizer.init(params), jax.random.key(0), jnp.zeros((), jnp.int32))

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, batch))

    return run


def torch_step(config: T5Config, source: np.ndarray, target: np.ndarray) -> Callable[[], None]:
    """The same step by transformers and torch on two threads."""
    import torch
    import transformers

    torch.set_num_threads(2)
    shape = transformers.T5Config(
        vocab_size=config.vocab,
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_heads=config.heads,
        num_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        dropout_rate=config.dropout,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(shape).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    inputs = torch.tensor(source, dtype=torch.long)
    labels = torch.tensor(target, dtype=torch.long)
    mask = torch.ones_like(inputs)

    def run() -> None:
        optimizer.zero_grad()
        model(input_ids=inputs, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()

    return run
