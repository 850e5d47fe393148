"""Cross-entropy over a whole catalogue, computed in blocks of rows to bound the memory, or over a sample of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrec.platform import on_cpu
from jaxrec.types import Array

CACHED_ROWS = 128
"""Rows per block on CPU; their scores stay in the cache, which halves the time."""
MOST_SCORES = 2**28
"""Scores per block on other devices: a gigabyte of float32."""


def cross_entropy(
    hidden: jax.Array,
    table: jax.Array,
    labels: Array,
    weights: Array,
    dtype: str,
    *,
    left_out: Array | None = None,
    block: int | None = None,
) -> jax.Array:
    """The weighted mean of -log softmax(table h)[label].

    Gradients are computed in the forward pass, block by block, while a block's scores are in memory. Blocks whose
    weights are all 0 are skipped.

    Args:
      hidden: f32[T, D].
      table: a row for each item, f32[I, D].
      labels: i32[T], in [0, I); any value where the weight is 0.
      weights: f32[T].
      dtype: of the products' operands, "float32" or "bfloat16".
      left_out: items that are no candidates of a row, i32[T,M]; -1 = none. Labels must not be among them.
      block: rows at a time; None chooses by the backend.
    Returns:
      f32[], 0 where all weights are 0.
    """
    if block is None:
        block = CACHED_ROWS if on_cpu() else max(CACHED_ROWS, MOST_SCORES // table.shape[0])
    block = min(block, hidden.shape[0])
    short = -hidden.shape[0] % block
    hidden, table = jnp.pad(hidden, ((0, short), (0, 0))), jnp.asarray(table)
    weights = jnp.pad(jnp.asarray(weights), (0, short))
    labels = jnp.pad(jnp.clip(labels, 0, table.shape[0] - 1), (0, short))
    shares = weights / jnp.maximum(weights.sum(), 1e-6)
    columns = _columns(left_out, shares)
    return _cross_entropy(hidden, table, labels, columns, shares, dtype, block)


def sampled_cross_entropy(
    hidden: jax.Array,
    table: jax.Array,
    labels: Array,
    weights: Array,
    dtype: str,
    candidates: Array,
    *,
    left_out: Array | None = None,
) -> jax.Array:
    """As `cross_entropy`, with the other items estimated from a uniform sample of N of them.

    Their scores are raised by log(I / N), so that the sample stands for the catalogue (Jean et al. 2015). Blocks and
    gradients are as in `cross_entropy`.

    Args:
      hidden: f32[T, D].
      table: a row for each item, f32[I, D].
      labels: i32[T], in [0, I); any value where the weight is 0.
      weights: f32[T].
      dtype: of the products' operands, "float32" or "bfloat16".
      candidates: the sample, i32[N], the same for all rows; where a label is in it, it counts once.
      left_out: as in `cross_entropy`; an item that was drawn twice then counts once, too.
    Returns:
      f32[], 0 where all weights are 0.
    """
    block = CACHED_ROWS if on_cpu() else max(CACHED_ROWS, MOST_SCORES // candidates.shape[0])
    block = min(block, hidden.shape[0])
    short = -hidden.shape[0] % block
    labels = jnp.pad(jnp.clip(labels, 0, table.shape[0] - 1), (0, short))
    weights = jnp.pad(jnp.asarray(weights), (0, short))
    shares = weights / jnp.maximum(weights.sum(), 1e-6)
    n_items, numbers = table.shape[0], jnp.arange(candidates.shape[0])
    raised = jnp.full(len(numbers), math.log(n_items / len(numbers)))
    if left_out is not None:
        place = jnp.full(n_items, -1).at[candidates].set(numbers)
        counts = place[candidates] == numbers
        raised = jnp.where(counts, jnp.log(n_items / counts.sum()), -jnp.inf)
        left_out = jnp.where(left_out >= 0, place[left_out], -1)
    columns, hidden = _columns(left_out, shares), jnp.pad(hidden, ((0, short), (0, 0)))
    return _sampled(hidden, table[labels], table[candidates], labels, candidates, columns, shares, raised, dtype, block)


def weighted_sum(losses: Callable[..., jax.Array], weights: jax.Array, *columns: jax.Array) -> jax.Array:
    """The product weights @ losses(*columns), f32[...]; on CPU in blocks of rows, and those of weights 0 are skipped.

    Args:
      losses: of some rows of the columns, f32[t,...].
      weights: f32[T].
      columns: arrays with a leading axis T.
    """
    block = CACHED_ROWS if on_cpu() else weights.shape[0]
    short = -weights.shape[0] % block
    # Computing a block's scores again in the backward pass takes half the time of keeping those of all blocks.
    of_rows = jax.checkpoint(losses) if on_cpu() else losses

    def one_block(rows: tuple[jax.Array, ...]) -> jax.Array:
        def counted(weight: jax.Array, *rows: jax.Array) -> jax.Array:
            return weight @ of_rows(*rows)

        skipped = jax.eval_shape(counted, *rows)
        return jax.lax.cond(jnp.any(rows[0] != 0), counted, lambda *_: jnp.zeros(skipped.shape), *rows)

    padded = (jnp.pad(x, ((0, short),) + ((0, 0),) * (x.ndim - 1)) for x in (weights, *columns))
    return jax.lax.map(one_block, tuple(x.reshape(-1, block, *x.shape[1:]) for x in padded)).sum(axis=0)


def _in_blocks(x: jax.Array, block: int) -> jax.Array:
    return x.reshape(len(x) // block, block, *x.shape[1:])


def _columns(left_out: Array | None, shares: jax.Array) -> jax.Array:
    """What is left out of rows with these shares, i32[T,M]: nothing where the share is 0, so that a maximum stays."""
    if left_out is None:
        return jnp.zeros((shares.shape[0], 0), jnp.int32)
    padded = jnp.pad(left_out, ((0, shares.shape[0] - left_out.shape[0]), (0, 0)), constant_values=-1)
    return jnp.where(shares[:, None] > 0, padded, -1)


def _without(scores: jax.Array, columns: jax.Array) -> jax.Array:
    """Scores f32[t,I] with -inf in some columns of each row, i32[t,M]; -1 = none."""
    if columns.shape[1] == 0:
        return scores
    outside = jnp.where(columns < 0, scores.shape[1], columns)
    return scores.at[jnp.arange(len(scores))[:, None], outside].set(-jnp.inf, mode="drop")


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _cross_entropy(hidden, table, labels, columns, shares, dtype: str, block: int) -> jax.Array:
    return _forward(hidden, table, labels, columns, shares, dtype, block)[0]


def _forward(hidden, table, labels, columns, shares, dtype: str, block: int):
    """The loss, and its gradients with respect to `hidden` and `table`."""
    rounded = table.astype(dtype)
    # On CPU the three products in this form take a third of the time of the straightforward one.
    table_transposed = rounded.T

    def one_block(table_gradient, rows):
        h, share = rows[0], rows[-1]
        skipped = table_gradient, (jnp.zeros(()), jnp.zeros_like(h))
        return jax.lax.cond(jnp.any(share != 0), counted, lambda *_: skipped, table_gradient, rows)

    def counted(table_gradient, rows):
        h, label, not_offered, share = rows
        of_label = table[label]
        h_rounded = h.astype(dtype)
        scores = jnp.einsum("td,di->ti", h_rounded, table_transposed, preferred_element_type=jnp.float32)
        scores = _without(scores, not_offered)
        maximum = scores.max(axis=1, keepdims=True)
        exponentials = jnp.exp(scores - maximum)
        total = exponentials.sum(axis=1, keepdims=True)
        losses = jnp.log(total[:, 0]) + maximum[:, 0] - (h * of_label).sum(axis=1)
        by_score = (exponentials * (share[:, None] / total)).astype(dtype)
        by_hidden = jnp.einsum("ti,id->td", by_score, rounded, preferred_element_type=jnp.float32)
        by_table = jnp.einsum("dt,ti->di", h_rounded.T, by_score, preferred_element_type=jnp.float32)
        return table_gradient + by_table, (share @ losses, by_hidden - share[:, None] * of_label)

    split = functools.partial(_in_blocks, block=block)
    table_gradient, (losses, by_hidden) = jax.lax.scan(
        one_block, jnp.zeros_like(table.T), (split(hidden), split(labels), split(columns), split(shares))
    )
    # The label's term is added by rows, in float32: a one-hot matrix would be another pass over all scores.
    table_gradient = table_gradient.T.at[labels].add(-shares[:, None] * hidden)
    return losses.sum(), (by_hidden.reshape(hidden.shape), table_gradient)


def _backward(dtype: str, block: int, gradients, cotangent):
    by_hidden, by_table = gradients
    return cotangent * by_hidden, cotangent * by_table, None, None, None


_cross_entropy.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(8, 9))
def _sampled(hidden, own, others, labels, candidates, columns, shares, raised, dtype: str, block: int) -> jax.Array:
    return _sampled_forward(hidden, own, others, labels, candidates, columns, shares, raised, dtype, block)[0]


def _sampled_forward(hidden, own, others, labels, candidates, columns, shares, raised, dtype: str, block: int):
    """The loss, and its gradients with respect to `hidden`, the labels' rows f32[T,D] and the sample's f32[N,D]."""
    rounded = others.astype(dtype)
    others_transposed = rounded.T

    def one_block(sums, rows):
        h, label_row, share = rows[0], rows[1], rows[-1]
        skipped = sums, (jnp.zeros(()), jnp.zeros_like(h), jnp.zeros_like(label_row))
        return jax.lax.cond(jnp.any(share != 0), counted, lambda *_: skipped, sums, rows)

    def counted(sums, rows):
        h, label_row, label, not_offered, share = rows
        h_rounded, of_label = h.astype(dtype), (h * label_row).sum(axis=1)
        scores = jnp.einsum("td,di->ti", h_rounded, others_transposed, preferred_element_type=jnp.float32)
        scores = jnp.where(candidates[None] == label[:, None], -jnp.inf, scores + raised[None])
        scores = _without(scores, not_offered)
        maximum = jnp.maximum(scores.max(axis=1), of_label)
        exponentials, of_own = jnp.exp(scores - maximum[:, None]), jnp.exp(of_label - maximum)
        total = exponentials.sum(axis=1) + of_own
        losses = jnp.log(total) + maximum - of_label
        by_score = (exponentials * (share / total)[:, None]).astype(dtype)
        by_label = (share * (of_own / total - 1))[:, None]
        by_hidden = jnp.einsum("ti,id->td", by_score, rounded, preferred_element_type=jnp.float32)
        by_others = jnp.einsum("dt,ti->di", h_rounded.T, by_score, preferred_element_type=jnp.float32)
        return sums + by_others, (share @ losses, by_hidden + by_label * label_row, by_label * h)

    split = functools.partial(_in_blocks, block=block)
    by_others, (losses, by_hidden, by_own) = jax.lax.scan(
        one_block, jnp.zeros_like(others.T), (split(hidden), split(own), split(labels), split(columns), split(shares))
    )
    return losses.sum(), (by_hidden.reshape(hidden.shape), by_own.reshape(own.shape), by_others.T)


def _sampled_backward(dtype: str, block: int, gradients, cotangent):
    return (*(cotangent * gradient for gradient in gradients), None, None, None, None, None)


_sampled.defvjp(_sampled_forward, _sampled_backward)
