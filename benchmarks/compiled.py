"""What TPUs would execute, from their own compiler, which needs no device: `python -m benchmarks.compiled`.

Compiles training steps and searches for described chips and prints, for each chip, the compiler's FLOP, bytes moved to
and from memory, temporary memory, collectives and compile time, and the time of the chip's roofline: the larger of
FLOP / peak and bytes / bandwidth. Nothing is run, so these are bounds and not times.

Needs libtpu (in `jax[tpu]`).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks import harness
from jaxrec.config import LoraConfig, OovConfig, RetrievalConfig, T5Config, TrainConfig, load_config
from jaxrec.hub.registry import backbone
from jaxrec.models import lightgcn
from jaxrec.models.cross_entropy import sequence_loss
from jaxrec.models.llama import Llama
from jaxrec.models.losses import loss_of
from jaxrec.models.retriever import Retriever
from jaxrec.models.sparse import edges
from jaxrec.models.t5 import T5
from jaxrec.platform import compiling_for
from jaxrec.recommend.beam_search import beam_search
from jaxrec.tokenizers.trie import Trie
from jaxrec.training import sharding
from jaxrec.training.loop import make_step
from jaxrec.training.optimizer import make_optimizer
from jaxrec.training.state import TrainState, functional
from jaxrec.types import Batch

VOCABULARY = 34_560
"""T5's words and the new tokens of Amazon Beauty's ids, padded to a multiple of 128."""
NEW_TOKENS = 1_280
ITEMS, USERS, WIDTH = 12_101, 22_363, 64
"""Of Amazon Beauty, and the width of collaborative vectors."""
WITHOUT_A_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}
"""Lets libtpu start on a machine that is none of Google's."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """A chip's peak rates, as its maker states them.

    Attributes:
      flops: bfloat16, per second.
      bandwidth: of its memory, bytes per second.
      memory: bytes.
    """

    flops: float
    bandwidth: float
    memory: float


CHIPS = {
    "v5e": Chip(197e12, 819e9, 16e9),
    "v5p": Chip(459e12, 2765e9, 95e9),
    "v6e": Chip(918e12, 1640e9, 32e9),
}


@dataclasses.dataclass(frozen=True)
class Program:
    """A function, and the shapes of its arguments with their places on the mesh.

    Attributes:
      function: pure.
      arguments: pytrees of jax.ShapeDtypeStruct.
      donated: numbers of the arguments that the function may overwrite.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donated: tuple[int, ...] = ()


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a row per program, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", help=f"default all: {', '.join(PROGRAMS)}")
    parser.add_argument("--target", default="v5e:2x2", help="chips by name and topology, as v5e:2x2 or v6e:4x4")
    parser.add_argument("--chips", type=int, default=1, help="how many of them the program runs on")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all compiles")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"), help="folder of JSON")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.programs) - set(PROGRAMS):
        parser.error(f"there is no program {', '.join(sorted(unknown))}; there are: {', '.join(PROGRAMS)}")
    chip, devices = described(arguments.target, arguments.chips)
    rows = []
    print(f"{'program':<14} {'TFLOP':>9} {'GB moved':>9} {'FLOP/byte':>9} {'GB temporary':>12} {'compiled in':>11}")
    for name in arguments.programs or PROGRAMS:
        row = {"program": name, **measure(PROGRAMS[name], chip, devices, quick=arguments.quick)}
        rows.append(row)
        print(
            f"{name:<14} {row['flops'] / 1e12:9.3f} {row['bytes'] / 1e9:9.2f} {row['flops'] / row['bytes']:9.1f} "
            f"{row['temporary_bytes'] / 1e9:12.2f} {row['compile_seconds']:9.0f} s   at least "
            f"{row['roofline_seconds'] * 1e3:.1f} ms ({row['bound']}); collectives: {row['collectives'] or 'none'}",
            flush=True,
        )
    about = {"target": arguments.target, "chips": arguments.chips, "quick": arguments.quick, "rows": rows}
    name = f"compiled-{arguments.target.replace(':', '-')}-{arguments.chips}"
    harness.write(arguments.out, name, about | harness.circumstances())


def described(target: str, count: int) -> tuple[Chip, list[Any]]:
    """The chip of a target such as "v5e:2x2", and the first `count` devices of its topology."""
    jax.config.update("jax_platforms", "cpu")
    for variable, value in WITHOUT_A_TPU.items():
        os.environ.setdefault(variable, value)
    name = target.partition(":")[0]
    if name not in CHIPS:
        sys.exit(f"error: --target {target!r} names no known chip; there are: {', '.join(CHIPS)}")
    topology = topologies.get_topology_desc(platform="tpu", topology_name=target, chips_per_host_bounds=[2, 2, 1])
    if not 1 <= count <= len(topology.devices):
        sys.exit(f"error: {target} has {len(topology.devices)} chips, --chips is {count}")
    return CHIPS[name], list(topology.devices[:count])


def measure(build: Callable[[list[Any], bool], tuple[Mesh, Program]], chip: Chip, devices: list[Any], *, quick: bool):
    """Compiles a program for described devices; returns the compiler's figures, each of one chip."""
    with compiling_for("tpu"):
        mesh, program = build(devices, quick)
        with sharding.tracing_over(mesh):
            lowered = jax.jit(program.function, donate_argnums=program.donated).lower(*program.arguments)
    started = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - started
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    by_flops, by_bytes = cost["flops"] / chip.flops, cost["bytes accessed"] / chip.bandwidth
    return {
        "flops": cost["flops"],
        "bytes": cost["bytes accessed"],
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "fits": memory.temp_size_in_bytes + memory.argument_size_in_bytes < chip.memory,
        "collectives": collectives(compiled.as_text()),
        "compile_seconds": seconds,
        "roofline_seconds": max(by_flops, by_bytes),
        "bound": "compute" if by_flops > by_bytes else "memory",
    }


def collectives(program: str) -> dict[str, int]:
    """How many collectives of each kind a compiled program has."""
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    return dict(Counter(re.findall(rf"= [^=]*? ({kinds})(?:-start)?\(", program)))


def _meta_id_step(devices: list[Any], quick: bool) -> tuple[Mesh, Program]:
    """META ID's training step at the paper's size: T5-small, 64 rows of 512 + 64 tokens for each chip."""
    config = load_config("meta_id_beauty")
    shape = _t5(config.model.t5, quick)
    model = nnx.eval_shape(lambda: T5(shape, OovConfig(), _anchors(), VOCABULARY - NEW_TOKENS, rngs=nnx.Rngs(0)))
    return _training(model, sequence_loss, config.train, "t5", devices, 64, quick=quick)


def _token_rec_step(devices: list[Any], quick: bool) -> tuple[Mesh, Program]:
    """TokenRec's training step: the same T5 with its projection, and a loss over 32 examples a row."""
    config = load_config("token_rec_beauty")
    shape = _t5(config.model.t5, quick)
    items, users = np.ones((ITEMS, WIDTH), np.float32), np.ones((USERS, WIDTH), np.float32)

    def build() -> Retriever:
        backbone_model = T5(shape, OovConfig("none"), None, VOCABULARY, rngs=nnx.Rngs(0))
        return Retriever(backbone_model, RetrievalConfig(), [1], items, users, _no_events(), rngs=nnx.Rngs(0))

    return _training(build(), loss_of(config).make(config.train), config.train, "t5", devices, 64, quick=quick)


def _llama_step(devices: list[Any], quick: bool) -> tuple[Mesh, Program]:
    """META ID (L)'s training step: LLaMA 2 7B with LoRA, 4 rows of 1,024 + 32 tokens for each chip, sharded weights."""
    config = load_config("meta_id_beauty_llama")
    sizes = {"layers": 2, "d_model": 256, "d_ff": 512, "heads": 4, "kv_heads": 4} if quick else {}
    shape = dataclasses.replace(config.model.llama, vocab=VOCABULARY, compute_dtype="bfloat16", remat=True, **sizes)
    lora, first = LoraConfig(rank=16), VOCABULARY - NEW_TOKENS
    model = nnx.eval_shape(lambda: Llama(shape, OovConfig(), lora, _anchors(), first, first + 2, rngs=nnx.Rngs(0)))
    train = dataclasses.replace(config.train, source_length=1024, target_length=32, fsdp=True)
    return _training(model, sequence_loss, train, "llama", devices, 4, quick=quick)


def _beam(devices: list[Any], quick: bool) -> tuple[Mesh, Program]:
    """Beam search with 20 beams for 256 users with prompts of 128 tokens, over Beauty's number of items."""
    shape = _t5(load_config("meta_id_beauty").model.t5, quick)
    mesh = sharding.make_mesh(1, 1, devices[:1])
    first = VOCABULARY - NEW_TOKENS
    numbers = np.arange(ITEMS)
    trie = Trie.build(np.stack([np.full(ITEMS, first), first + 1 + numbers % 100, first + 101 + numbers // 100], 1))
    model = nnx.eval_shape(lambda: T5(shape, OovConfig(), _anchors(), first, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    source = jax.ShapeDtypeStruct((256, 128), jnp.int32)

    def search(state: Any, source: jax.Array, trie: Trie) -> Any:
        return beam_search(nnx.merge(graph, state), source, trie, beams=20, k=10)

    return mesh, Program(search, (_placed(state, mesh), _placed(source, mesh), _placed(trie, mesh)))


PROGRAMS = {"meta_id_step": _meta_id_step, "token_rec_step": _token_rec_step, "llama_step": _llama_step, "beam": _beam}


def _t5(shape: T5Config, quick: bool) -> T5Config:
    shape = dataclasses.replace(shape, vocab=VOCABULARY, compute_dtype="bfloat16")
    small = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 128, "heads": 2, "d_ff": 256} if quick else {}
    return dataclasses.replace(shape, **small)


def _anchors() -> np.ndarray:
    return np.zeros((NEW_TOKENS, WIDTH), np.float32)


def _no_events() -> Any:
    return lightgcn.events(edges(np.arange(USERS), np.arange(USERS) % ITEMS, ITEMS), USERS)


def _training(
    model: nnx.Module, loss: Any, train: TrainConfig, kind: str, devices: list[Any], rows: int, *, quick: bool
) -> tuple[Mesh, Program]:
    """A training step on all devices, `rows` packed rows each."""
    mesh = sharding.make_mesh(len(devices), 1, devices)
    rules, optimizer = backbone(kind).sharding(train.fsdp), make_optimizer(train, 1000)
    params, buffers, loss_fn = functional(model, loss)
    params, buffers = (jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), t) for t in (params, buffers))
    placed = sharding.shardings(params, mesh, rules)
    moments = jax.eval_shape(optimizer.init, params)
    state = TrainState(
        _placed(jax.ShapeDtypeStruct((), jnp.int32), mesh),
        _at(params, placed),
        _at(moments, sharding.follow(moments, params, placed, mesh)),
        _placed(jax.eval_shape(lambda: jax.random.key(0)), mesh),
    )
    count = (8 if quick else rows) * len(devices)
    by_row = NamedSharding(mesh, PartitionSpec("data"))

    def tokens(length: int, dtype: Any = jnp.int32) -> Any:
        return jax.ShapeDtypeStruct((count, length), dtype, sharding=by_row)

    source, target = (128, 16) if quick else (train.source_length, train.target_length)
    batch = Batch(tokens(source), tokens(source), tokens(target), tokens(target), tokens(target, jnp.float32))
    buffers = _at(buffers, sharding.shardings(buffers, mesh, rules))
    return mesh, Program(make_step(loss_fn, optimizer), (state, buffers, batch), donated=(0,))


def _placed(tree: Any, mesh: Mesh) -> Any:
    return _at(tree, jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), tree))


def _at(tree: Any, placed: Any) -> Any:
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, placed)


if __name__ == "__main__":
    main()
