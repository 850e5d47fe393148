"""Memory that training a decoder-only model with LoRA needs on each device, computed from shapes alone.

python -m benchmarks.memory [--devices 8 --fsdp] [--rows 4 --length 1024] [--shape llama-2-7b] [--whole]
python -m benchmarks.memory --run 10    ten steps with random weights on the device: its peak, and tokens a second

The estimate adds up:
  held       weights, trainable parameters, the optimizer's moments and a batch, as sharded over the mesh;
  gradients  of the trainable parameters;
  kept       activations of all layers saved for the backward pass: the residuals of jax.vjp;
  working    the compiler's temporary memory of a step of the same model with one layer.
XLA's CPU compiler holds bfloat16 weights as float32 while it computes, so this is an upper bound.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import time
from typing import Any

SHAPES = {
    "llama-2-7b": {},
    "mistral-7b": {"family": "mistral", "kv_heads": 8, "d_ff": 14336},
    "qwen3-0.6b": {
        "family": "qwen3",
        "vocab": 151936,
        "d_model": 1024,
        "heads": 16,
        "kv_heads": 8,
        "d_ff": 3072,
        "layers": 28,
        "qk_norm": True,
        "tied": True,
    },
}
NEW_TOKENS = 1280
"""Roughly what META ID needs: 100 cluster tokens and one token per member of the largest cluster."""
TARGET = 32


def main() -> None:
    """Prints the figures on one line; --out also writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-2-7b")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--model-parallel", type=int, default=1)
    parser.add_argument("--fsdp", action="store_true")
    parser.add_argument("--rows", type=int, default=4, help="packed rows in a global batch")
    parser.add_argument("--length", type=int, default=1024, help="source tokens of a row")
    parser.add_argument("--whole", action="store_true", help="train every weight in float32 instead of LoRA")
    parser.add_argument("--run", type=int, metavar="STEPS", default=0, help="run so many steps instead of computing")
    parser.add_argument("--layers", type=int, default=0, help="of the model; 0 takes the shape's own")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    if not arguments.run:
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={arguments.devices}"
    figures = run(arguments) if arguments.run else measure(arguments)
    print(", ".join(f"{name} {value:,.2f}" for name, value in figures.items()))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(
            json.dumps({**vars(arguments), "out": str(arguments.out), "found": figures}, indent=1) + "\n"
        )


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Memory on each device by part, in GB (10^9 bytes)."""
    import jax

    shape, lora = _model(arguments)
    state, buffers, batch, loss, _ = _abstract(arguments, shape, lora)
    held = sum(_bytes_on_device(x) for x in jax.tree.leaves((state, buffers, batch)))
    gradients = sum(_bytes_on_device(x) for x in jax.tree.leaves(state.params))
    kept = _kept(loss, state.params, buffers, batch) / arguments.devices  # activations are cut over rows or heads
    *one, _, one_step = _abstract(arguments, dataclasses.replace(shape, layers=1), lora)
    working = one_step.lower(*one).compile().memory_analysis().temp_size_in_bytes
    parts = {"held": held, "gradients": gradients, "kept": kept, "working": working}
    parts["together"] = sum(parts.values())
    return {f"{name} GB": value / 1e9 for name, value in parts.items()}


def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Trains on full rows of random tokens from random weights; returns peak memory in GB and tokens per second."""
    import jax
    import numpy as np
    from flax import nnx

    from jaxrec.config import OovConfig, TrainConfig
    from jaxrec.models.cross_entropy import sequence_loss
    from jaxrec.models.llama import Llama
    from jaxrec.training.loop import initial_state, make_step
    from jaxrec.training.optimizer import make_optimizer
    from jaxrec.training.sharding import single_device_mesh
    from jaxrec.training.state import functional
    from jaxrec.types import Batch

    shape, lora = _model(arguments)
    first = shape.vocab - NEW_TOKENS
    anchors = np.zeros((NEW_TOKENS, 64), np.float32)
    model = Llama(shape, OovConfig(), lora, anchors, first, first + 2, rngs=nnx.Rngs(0))
    params, buffers, loss = functional(model, sequence_loss)
    optimizer = make_optimizer(TrainConfig(), 1000)
    state = initial_state(params, optimizer, jax.random.key(0), single_device_mesh(), ())
    del model, params
    draw = np.random.default_rng(0)
    source, target = (draw.integers(3, first, (arguments.rows, n)).astype(np.int32) for n in (arguments.length, TARGET))
    ones = np.ones_like(target)
    batch = jax.device_put(Batch(source, np.ones_like(source), target, ones, ones.astype(np.float32)))
    step = jax.jit(make_step(loss, optimizer), donate_argnums=0)
    state, metrics = step(state, buffers, batch)  # compiles
    jax.block_until_ready(metrics)
    started = time.perf_counter()
    for _ in range(arguments.run):
        state, metrics = step(state, buffers, batch)
    final_loss = float(metrics["loss"])
    seconds = (time.perf_counter() - started) / arguments.run
    stats = jax.local_devices()[0].memory_stats() or {}  # a CPU keeps none
    peak = stats.get("peak_bytes_in_use", float("nan")) / 1e9
    return {
        "peak GB": peak,
        "seconds a step": seconds,
        "tokens/s": arguments.rows * arguments.length / seconds,
        "loss": final_loss,
    }


def _model(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The model's config, with room for new tokens, and its LoRA config."""
    from jaxrec.config import LlamaConfig, LoraConfig

    shape = LlamaConfig(compute_dtype="bfloat16", remat=True, **SHAPES[arguments.shape])
    shape = dataclasses.replace(shape, vocab=-(-(shape.vocab + NEW_TOKENS) // 128) * 128)
    if arguments.layers:
        shape = dataclasses.replace(shape, layers=arguments.layers)
    return shape, LoraConfig(rank=0 if arguments.whole else 16, targets=("attention", "mlp", "embedding", "head"))


def _abstract(arguments: argparse.Namespace, shape: Any, lora: Any) -> tuple[Any, ...]:
    """State, buffers and batch as shapes with shardings, the loss, and the jitted step."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from jaxrec.config import OovConfig, TrainConfig
    from jaxrec.hub.registry import backbone
    from jaxrec.models.cross_entropy import sequence_loss
    from jaxrec.models.llama import Llama
    from jaxrec.training import sharding
    from jaxrec.training.loop import make_step
    from jaxrec.training.optimizer import make_optimizer
    from jaxrec.training.state import TrainState, functional
    from jaxrec.types import Batch

    train = TrainConfig(model_parallel=arguments.model_parallel, fsdp=arguments.fsdp)
    rules = backbone("llama").sharding(train.fsdp)
    mesh = sharding.make_mesh(arguments.devices // arguments.model_parallel, arguments.model_parallel)
    first = shape.vocab - NEW_TOKENS
    anchors = np.zeros((NEW_TOKENS, 64), np.float32)
    model = nnx.eval_shape(lambda: Llama(shape, OovConfig(), lora, anchors, first, first + 2, rngs=nnx.Rngs(0)))
    params, buffers, loss = functional(model, sequence_loss)
    optimizer = make_optimizer(train, 1000)

    def lay(tree: Any, placed: Any) -> Any:
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, placed)

    placed = sharding.shardings(params, mesh, rules)
    moments = jax.eval_shape(optimizer.init, params)
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    by_row = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    step: Any = jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere)
    key: Any = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=everywhere)
    state = TrainState(step, lay(params, placed), lay(moments, sharding.follow(moments, params, placed, mesh)), key)
    source = jax.ShapeDtypeStruct((arguments.rows, arguments.length), jnp.int32, sharding=by_row)
    target = jax.ShapeDtypeStruct((arguments.rows, TARGET), jnp.int32, sharding=by_row)
    weights = jax.ShapeDtypeStruct((arguments.rows, TARGET), jnp.float32, sharding=by_row)
    batch = Batch(source, source, target, target, weights)
    train_step = jax.jit(make_step(loss, optimizer), donate_argnums=0)
    return state, lay(buffers, sharding.shardings(buffers, mesh, rules)), batch, loss, train_step


def _kept(loss: Any, params: Any, buffers: Any, batch: Any) -> int:
    """Bytes of residuals that the forward pass saves for the backward pass."""
    import jax

    def forward(params: Any, buffers: Any, batch: Any) -> Any:
        return jax.vjp(lambda p: loss(p, buffers, batch, jax.random.key(0))[0], params)

    jaxpr = jax.make_jaxpr(forward)(params, buffers, batch).jaxpr
    arguments = {id(v) for v in (*jaxpr.invars, *jaxpr.constvars)}
    left = {id(v): v.aval for v in jaxpr.outvars if id(v) not in arguments and not hasattr(v, "val")}
    return sum(aval.size * aval.dtype.itemsize for aval in left.values())


def _bytes_on_device(x: Any) -> int:
    import jax
    import numpy as np

    itemsize = 8 if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x.dtype.itemsize
    return int(np.prod(x.sharding.shard_shape(x.shape))) * itemsize


if __name__ == "__main__":
    main()
