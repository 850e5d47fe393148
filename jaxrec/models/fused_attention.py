"""Attention as one kernel for TPUs, forward and backward: the scores f32[B,H,Q,S] stay on the chip.

T5's attention has a learned bias, so the kernel adds one and sums its gradient over the batch; the mask comes from
segments and the dropout from the hash of `jaxrec.models.dropout`, so the result is that of `attention.attend`. Scores
are made again in the backward pass; nothing of their size is ever written to memory (Dao et al. 2022; without their
running maximum, as all keys of a row fit beside a block of queries).

Suffixes of names are axes, see `jaxrec.types`; A = H * K are the heads side by side, as the projections leave them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec

from jaxrec.models.dropout import is_kept

MASKED = -1e9
"""The score of what is not seen; finite, so that a row without a key becomes uniform instead of NaN."""
BLOCK = 512
"""Queries at a time."""
MOST_KEYS = 1024
"""Of a row; the scores of more would not fit on the chip."""
LANES = 128
"""Of a TPU's vector unit: heads are taken in groups that fill them."""
CHIP_MEMORY = 64 * 2**20
"""Bytes of the chip's own memory that a kernel may take."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a kernel is compiled for.

    Attributes:
      heads: H.
      causal: whether a query sees only the keys at its place and before.
      biased: whether there is a bias.
      rate: of the dropout, in [0, 1).
      dtype: of the products' operands and the result, "float32" or "bfloat16".
    """

    heads: int
    causal: bool
    biased: bool
    rate: float
    dtype: str


def fits(queries: int, keys: int, heads: int, width: int) -> bool:
    """Whether the kernel takes so many queries and keys a row, and heads of this width."""
    group = _group(heads, width)
    whole_lanes = group * width % LANES == 0 or group == heads
    return (
        whole_lanes
        and keys <= MOST_KEYS
        and keys % LANES == 0
        and queries % 8 == 0
        and (queries <= BLOCK or queries % BLOCK == 0)
    )


def fused_attention(
    settings: Settings,
    q_BQA: jax.Array,
    k_BSA: jax.Array,
    v_BSA: jax.Array,
    bias_HQS: jax.Array | None,
    q_segments_BQ: jax.Array,
    k_segments_BS: jax.Array,
    seed: jax.Array | None,
) -> jax.Array:
    """softmax(q k + bias) v, as `attention.attend` computes it from a mask of segments.

    Where jax's mesh is set, each device computes its share of the rows.

    Args:
      settings: see there.
      q_BQA: queries of all heads.
      k_BSA: keys.
      v_BSA: values.
      bias_HQS: f32[H,Q,S]; read where settings.biased.
      q_segments_BQ: a query sees the keys of its own segment, i32[B,Q].
      k_segments_BS: i32[B,S], 0 = padding, which no query sees.
      seed: of the dropout, u32[2]; read where the rate is not 0.
    Returns:
      [B,Q,A] in settings.dtype.
    """
    if bias_HQS is None:
        bias_HQS = jnp.zeros((settings.heads, 1, 1), jnp.float32)
    if seed is None:
        seed = jnp.zeros(2, jnp.uint32)
    operands = [x.astype(settings.dtype) for x in (q_BQA, k_BSA, v_BSA)]
    inputs = *operands, bias_HQS, q_segments_BQ[:, :, None], k_segments_BS[:, None], seed
    mesh = jax.sharding.get_abstract_mesh()
    if "data" not in mesh.axis_names or mesh.size == 1:
        return _attend(settings, *inputs[:-1], _numbers(seed, 0))

    def share(*inputs: jax.Array) -> jax.Array:
        first_row = jax.lax.axis_index("data") * inputs[0].shape[0]
        return _attend(settings, *inputs[:-1], _numbers(inputs[-1], first_row))

    rows, whole = PartitionSpec("data"), PartitionSpec()
    places = (rows, rows, rows, whole, rows, rows, whole)
    return jax.shard_map(share, in_specs=places, out_specs=rows, check_vma=False)(*inputs)


def _numbers(seed: jax.Array, first_row: jax.Array | int) -> jax.Array:
    """The seed, and the number of a device's first row in the whole batch, u32[3]."""
    return jnp.stack([seed[0], seed[1], jnp.asarray(first_row).astype(jnp.uint32)])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, *inputs: jax.Array) -> jax.Array:
    return _forward(settings, *inputs)[0]


def _forward(settings: Settings, *inputs: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    specs = _specs(settings, *inputs)
    result = jax.ShapeDtypeStruct(inputs[0].shape, settings.dtype)
    return _call(settings, _forward_kernel, 2, inputs, specs, result, specs[0]), inputs


def _backward(settings: Settings, inputs: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[Any, ...]:
    k_BSA, specs = inputs[1], _specs(settings, *inputs)
    results = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs[:4]]
    width = k_BSA.shape[2] // (settings.heads // _group(settings.heads, k_BSA.shape[2] // settings.heads))
    sums = [pltpu.VMEM((k_BSA.shape[1], width), jnp.float32)] * 2
    operands = *inputs, cotangent.astype(settings.dtype)
    gradients = _call(
        settings, _backward_kernel, 5, operands, [*specs, specs[0]], results, list(specs[:4]), scratch_shapes=sums
    )
    return *gradients, None, None, None


_attend.defvjp(_forward, _backward)


def _group(heads: int, width: int) -> int:
    """Heads at a time: as many as fill the lanes, if the heads divide into such groups."""
    return math.gcd(heads, max(LANES // width, 1))


def _specs(settings: Settings, *inputs: jax.Array) -> list[Any]:
    """Which part of each input a step of the grid (groups of heads, rows, blocks of queries) sees."""
    q, k, _, bias, *_ = inputs
    group = _group(settings.heads, q.shape[2] // settings.heads)
    block, width = min(BLOCK, q.shape[1]), group * q.shape[2] // settings.heads
    of_queries = pl.BlockSpec((None, block, width), lambda h, b, q: (b, q, h))
    of_keys = pl.BlockSpec((None, k.shape[1], width), lambda h, b, q: (b, 0, h))
    # All queries' bias at once: its gradient then stays on the chip while rows are added to it.
    of_bias = pl.BlockSpec((group, *bias.shape[1:]), lambda h, b, q: (h, 0, 0))
    of_q_segments = pl.BlockSpec((None, block, 1), lambda h, b, q: (b, q, 0))
    of_k_segments = pl.BlockSpec((None, 1, k.shape[1]), lambda h, b, q: (b, 0, 0))
    numbers = pl.BlockSpec(memory_space=pltpu.SMEM)
    return [of_queries, of_keys, of_keys, of_bias, of_q_segments, of_k_segments, numbers]


def _call(
    settings: Settings,
    kernel: Callable[..., None],
    products: int,
    operands: Sequence[jax.Array],
    specs: Sequence[Any],
    results: Any,
    result_specs: Any,
    **more: Any,
) -> Any:
    """Runs a kernel over the grid; `products` is how many products of the size of the scores it computes."""
    rows, queries, across = operands[0].shape
    scores = rows * queries * operands[1].shape[1]
    return pl.pallas_call(
        functools.partial(kernel, settings),
        grid=(settings.heads // _group(settings.heads, across // settings.heads), rows, -(-queries // BLOCK)),
        in_specs=list(specs),
        out_specs=result_specs,
        out_shape=results,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=CHIP_MEMORY
        ),
        cost_estimate=pl.CostEstimate(
            flops=2 * products * scores * across,
            transcendentals=scores * settings.heads,
            bytes_accessed=sum(x.size * x.dtype.itemsize for x in (*operands, *jax.tree.leaves(results))),
        ),
        **more,
    )(*operands)


class _Weights(NamedTuple):
    """The softmax of a block's scores f32[Q,S], which entries are seen, and which the dropout keeps (None: all)."""

    values: jax.Array
    seen: jax.Array
    kept: jax.Array | None


def _weights(settings: Settings, n: int, q: jax.Array, k: jax.Array, refs: Sequence[Any]) -> _Weights:
    bias_ref, q_segments_ref, k_segments_ref, numbers_ref = refs
    block, first_query = q.shape[0], pl.program_id(2) * q.shape[0]
    scores = _product(q, k, (1, 1))
    if settings.biased:
        scores += bias_ref[n, pl.ds(first_query, block), :]
    k_segments = k_segments_ref[...]
    seen = (q_segments_ref[...] == k_segments) & (k_segments > 0)
    place_q = first_query + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 0)
    place_k = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
    if settings.causal:
        seen &= place_q >= place_k
    scores = jnp.where(seen, scores, MASKED)
    exponentials = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    weights = exponentials / jnp.sum(exponentials, axis=1, keepdims=True)
    if not settings.rate:
        return _Weights(weights, seen, None)
    row = numbers_ref[2] + pl.program_id(1).astype(jnp.uint32)
    head = (pl.program_id(0) * bias_ref.shape[0] + n).astype(jnp.uint32)
    queries, keys = jnp.uint32(pl.num_programs(2) * block), k.shape[0]
    first = (row * jnp.uint32(settings.heads) + head) * queries * jnp.uint32(keys)
    place = first + (place_q * keys + place_k).astype(jnp.uint32)
    return _Weights(weights, seen, is_kept(place, numbers_ref[0], numbers_ref[1], settings.rate))


def _dropped(settings: Settings, x: jax.Array, kept: jax.Array | None) -> jax.Array:
    return x if kept is None else jnp.where(kept, x * (1 / (1 - settings.rate)), 0)


def _product(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """A product that sums over one axis of each matrix, in float32."""
    numbers = (((axes[0],), (axes[1],)), ((), ()))
    return jax.lax.dot_general(a, b, numbers, preferred_element_type=jnp.float32)


def _heads(bias_ref: Any, across: int) -> list[tuple[int, slice]]:
    """The heads of a group, and their columns."""
    group = bias_ref.shape[0]
    width = across // group
    return [(n, slice(n * width, (n + 1) * width)) for n in range(group)]


def _forward_kernel(settings: Settings, q_ref, k_ref, v_ref, *refs) -> None:
    *refs, result_ref = refs
    for n, columns in _heads(refs[0], q_ref.shape[-1]):
        weights = _weights(settings, n, q_ref[:, columns], k_ref[:, columns], refs)
        dropped = _dropped(settings, weights.values, weights.kept).astype(settings.dtype)
        result_ref[:, columns] = _product(dropped, v_ref[:, columns], (1, 0)).astype(settings.dtype)


def _backward_kernel(settings: Settings, q_ref, k_ref, v_ref, *refs) -> None:
    *refs, cotangent_ref, by_q_ref, by_k_ref, by_v_ref, by_bias_ref, sum_k_ref, sum_v_ref = refs
    block, dtype = q_ref.shape[0], settings.dtype
    n_block, last_block = pl.program_id(2), pl.num_programs(2) - 1

    @pl.when((pl.program_id(1) == 0) & (n_block == 0))
    def _first_of_group() -> None:
        by_bias_ref[...] = jnp.zeros_like(by_bias_ref)

    @pl.when(n_block == 0)
    def _first_of_row() -> None:
        sum_k_ref[...] = jnp.zeros_like(sum_k_ref)
        sum_v_ref[...] = jnp.zeros_like(sum_v_ref)

    for n, columns in _heads(refs[0], q_ref.shape[-1]):
        q, k, v, cotangent = (ref[:, columns] for ref in (q_ref, k_ref, v_ref, cotangent_ref))
        weights, seen, kept = _weights(settings, n, q, k, refs)
        sum_v_ref[:, columns] += _product(_dropped(settings, weights, kept).astype(dtype), cotangent, (0, 0))
        by_weights = _dropped(settings, _product(cotangent, v, (1, 1)), kept)
        by_scores = weights * (by_weights - jnp.sum(by_weights * weights, axis=1, keepdims=True))
        by_scores = jnp.where(seen, by_scores, 0)  # a row without a key has weights, too
        if settings.biased:
            by_bias_ref[n, pl.ds(n_block * block, block), :] += by_scores
        by_scores = by_scores.astype(dtype)
        by_q_ref[:, columns] = _product(by_scores, k, (1, 0)).astype(dtype)
        sum_k_ref[:, columns] += _product(by_scores, q, (0, 0))

    @pl.when(n_block == last_block)
    def _last_of_row() -> None:
        by_k_ref[...] = sum_k_ref[...].astype(dtype)
        by_v_ref[...] = sum_v_ref[...].astype(dtype)
