"""The device's peak rates, and the share that a T5 training step uses: `python -m benchmarks.roofline [--quick]`."""

from __future__ import annotations

import argparse
import functools
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks import harness
from jaxrec.config import OovConfig, T5Config, TrainConfig
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.t5 import T5
from jaxrec.training.loop import initial_state, make_step
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.sharding import single_device_mesh
from jaxrec.training.state import functional
from jaxrec.types import Batch


def main() -> None:
    """Prints and writes matmul rates, memory bandwidth and the step's share of the bfloat16 rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all is wired up")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"), help="folder of JSON")
    arguments = parser.parse_args()
    on_cpu = jax.default_backend() == "cpu"
    width = 256 if arguments.quick else 2048 if on_cpu else 8192
    report: dict[str, Any] = {
        "matmul_flops_per_second": {t: matmul_rate(width, t) for t in ("float32", "bfloat16")},
        "bytes_per_second": bandwidth(2**20 if arguments.quick else 2**28),
    }
    rows, source, target = (2, 32, 8) if arguments.quick else (16, 128, 32) if on_cpu else (64, 512, 64)
    config = T5Config(compute_dtype="bfloat16")
    if arguments.quick:
        config = T5Config(vocab=256, d_model=64, d_ff=128, heads=2, encoder_layers=1, decoder_layers=1)
    report["t5_step"] = step_rate(config, rows, source, target)
    peak = report["matmul_flops_per_second"][config.compute_dtype]
    report["t5_step"]["share_of_matmul_rate"] = report["t5_step"]["flops_per_second"] / peak
    report |= {"quick": arguments.quick, **harness.circumstances()}
    harness.write(arguments.out, "roofline", report)
    for dtype, rate in report["matmul_flops_per_second"].items():
        print(f"matmul {dtype}: {rate / 1e12:.2f} TFLOP/s")
    print(f"memory: {report['bytes_per_second'] / 1e9:.1f} GB/s")
    step = report["t5_step"]
    print(f"T5 step {step['shape']}: {step['seconds'] * 1e3:.1f} ms, {step['share_of_matmul_rate']:.1%} of the rate")


def matmul_rate(width: int, dtype: str) -> float:
    """FLOP/s of a square product that accumulates in float32, as in the models."""
    x = jax.random.normal(jax.random.key(0), (width, width), dtype)
    product = jax.jit(functools.partial(jnp.matmul, preferred_element_type=jnp.float32))
    return 2 * width**3 / _seconds(lambda: product(x, x))


def bandwidth(count: int) -> float:
    """Bytes/s of y = 2 x + y over float32 arrays: two reads and a write."""
    x, y = jnp.ones(count), jnp.ones(count)
    triad = jax.jit(lambda x, y: 2 * x + y)
    return 3 * 4 * count / _seconds(lambda: triad(x, y))


def step_rate(config: T5Config, rows: int, source: int, target: int) -> dict[str, Any]:
    """Seconds and FLOP/s of a whole training step, dropout and AdamW included, on full rows."""
    rng = np.random.default_rng(0)
    tokens = [rng.integers(2, config.vocab, (rows, n)).astype(np.int32) for n in (source, target)]
    ones = [np.ones_like(t) for t in tokens]
    batch = jax.device_put(Batch(tokens[0], ones[0], tokens[1], ones[1], ones[1].astype(np.float32)))
    model = T5(config, OovConfig(scope="none"), None, config.vocab, rngs=nnx.Rngs(0))
    params, buffers, loss = functional(model, sequence_loss)
    optimizer = make_optimizer(TrainConfig(), 1000)
    state = initial_state(params, optimizer, jax.random.key(0), single_device_mesh(), ())
    step = jax.jit(make_step(loss, optimizer), donate_argnums=0)

    def once() -> Any:
        nonlocal state
        state, metrics = step(state, buffers, batch)
        return metrics

    seconds = _seconds(once)
    return {
        "shape": f"{rows} x {source} + {target} tokens, {config.compute_dtype}",
        "seconds": seconds,
        "flops_per_second": step_flops(config, rows, source, target) / seconds,
        "tokens_per_second": rows * (source + target) / seconds,
    }


def step_flops(config: T5Config, rows: int, source: int, target: int) -> float:
    """Matrix-product FLOP of a step, from the shapes: forward once, backward twice, without recomputation."""
    inner = config.heads * config.d_kv
    projection = 2 * config.d_model * inner  # of one token through one of q, k, v, o
    feed = 2 * (3 if config.activation == "gated-gelu" else 2) * config.d_model * config.d_ff
    scores = 4 * inner  # of one query with one key: logits and the weighted sum of values
    encoder = config.encoder_layers * source * (4 * projection + feed + scores * source)
    decoder = config.decoder_layers * (
        target * (6 * projection + feed + scores * (target + source)) + source * 2 * projection
    )
    head = 2 * target * config.d_model * config.vocab
    return 3.0 * rows * (encoder + decoder + head)


def _seconds(work: Callable[[], Any], rounds: int = harness.ROUNDS) -> float:
    """Median seconds of a compiled call; a round is many calls on fast devices, which hides the launch overhead."""
    jax.block_until_ready(work())
    started = time.perf_counter()
    jax.block_until_ready(work())
    calls = max(1, min(50, int(0.1 / (time.perf_counter() - started))))
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        jax.block_until_ready([work() for _ in range(calls)])
        seconds.append((time.perf_counter() - started) / calls)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
