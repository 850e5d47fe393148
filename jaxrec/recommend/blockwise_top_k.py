"""Top-k items per user, computed block by block, so that scores of the whole catalogue are never in memory."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.types import Array


class Closed(NamedTuple):
    """Which items are no results.

    Attributes:
      seen: items to leave out, i32[B,X], -1 = padding, or None.
      allowed: items that may be listed unless they are seen, bool[I,B], or None for all; a row per item.
    """

    seen: Array | None
    allowed: Array | None


def group_size(n_items: int, k: int) -> int:
    """Number of consecutive items in a group, of which only the best score is kept at first.

    Fewer groups are faster to select from, smaller groups are faster to score again: the square root balances both. The
    factor and the bounds were tuned on two CPU cores.
    """
    return min(max(1 << int(math.log2(math.sqrt(n_items / k) / 4 + 1)), 8), 128)


def exact_top_k(
    z: jax.Array, items: jax.Array, k: int, closed: Closed, norms: jax.Array | None, block: int
) -> tuple[Array, Array]:
    """Scores f32[B,k] and items i32[B,k], in two stages; ties come in the order of items."""
    batch, n_items = z.shape[0], items.shape[0]
    group = group_size(n_items, k)
    block = min(-(-block // group), -(-n_items // group)) * group
    per_block = block // group

    def best_of_groups(first: Array | int, rows: Array, norms: Array | None) -> Array:
        scores = _score(z, rows, norms, closed, first)
        return scores.reshape(-1, group, batch).max(1)

    def step(number: Array, best: Array) -> Array:
        first = number * block
        rows, lengths = _rows(items, norms, first, block)
        return lax.dynamic_update_slice(best, best_of_groups(first, rows, lengths), (number * per_block, 0))

    n_blocks, remainder = divmod(n_items, block)
    best = jnp.zeros((n_blocks * per_block, batch), jnp.float32)
    if n_blocks:
        best = lax.fori_loop(0, n_blocks, step, best)
    if remainder:
        last_block = best_of_groups(
            n_blocks * block,
            pad_to_multiple(items[n_blocks * block :], group, 0),
            None if norms is None else pad_to_multiple(norms[n_blocks * block :], group, 0),
        )
        best = jnp.concatenate([best, last_block])
    groups = lax.top_k(best.T, min(k, best.shape[0]))[1]
    groups = jnp.sort(groups, axis=1)  # ties in the order of items
    numbers = (groups[:, :, None] * group + jnp.arange(group, dtype=jnp.int32)[None, None]).reshape(batch, -1)
    rows = jnp.minimum(numbers, n_items - 1)
    candidates = items[rows].astype(jnp.float32)
    lengths = norms_of(candidates) if norms is None else norms[rows]
    scores = jnp.einsum("bcf,bf->bc", candidates * inverse(lengths)[..., None], z, precision="highest")
    scores = jnp.where((lengths > 0) & (numbers < n_items), scores, -jnp.inf)
    seen, allowed = closed
    if allowed is not None:
        scores = jnp.where(allowed[rows, jnp.arange(batch)[:, None]], scores, -jnp.inf)
    if seen is not None:
        of_group = groups[:, :, None] == (seen // group)[:, None, :]  # [B, k, X]
        positions = jnp.argmax(of_group, axis=1) * group + seen % group
        positions = jnp.where(of_group.any(1) & (seen >= 0), positions, numbers.shape[1])
        scores = scores.at[jnp.arange(batch)[:, None], positions].set(-jnp.inf, mode="drop")
    scores, positions = lax.top_k(scores, k)
    return scores, jnp.take_along_axis(numbers, positions, axis=1)


def approximate_top_k(
    z: jax.Array, items: jax.Array, k: int, closed: Closed, norms: jax.Array | None, block: int
) -> tuple[Array, Array]:
    """As `exact_top_k`, with `jax.lax.approx_max_k` on each block, merged block by block."""
    batch, n_items = z.shape[0], items.shape[0]
    block = min(block, n_items)

    def merge(best: tuple[Array, Array], first: Array | int, rows: Array, norms: Array | None) -> tuple[Array, Array]:
        scores = _score(z, rows, norms, closed, first).T
        scores, positions = lax.approx_max_k(scores, min(k, scores.shape[1]))
        scores = jnp.concatenate([best[0], scores], axis=1)
        numbers = jnp.concatenate([best[1], positions + first], axis=1)
        scores, positions = lax.top_k(scores, k)
        return scores, jnp.take_along_axis(numbers, positions, axis=1)

    def step(number: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        return merge(best, number * block, *_rows(items, norms, number * block, block))

    n_blocks, remainder = divmod(n_items, block)
    empty = (jnp.full((batch, k), -jnp.inf), jnp.full((batch, k), -1, jnp.int32))
    best = lax.fori_loop(0, n_blocks, step, empty)
    if remainder:
        first = n_blocks * block
        best = merge(best, first, items[first:], None if norms is None else norms[first:])
    return best


def _score(z: jax.Array, rows: jax.Array, norms: jax.Array | None, closed: Closed, first: Array | int) -> jax.Array:
    """Cosines f32[n,B] of items [n,F], numbered from `first`, with unit vectors z f32[B,F].

    -inf for unknown items, and for those that may not be listed.
    """
    rows = rows.astype(jnp.float32)
    lengths = norms_of(rows) if norms is None else norms
    # Items on the first axis, so that the maximum of a group runs over whole rows of users.
    scores = jnp.einsum("nf,bf->nb", rows * inverse(lengths)[:, None], z, precision="highest")
    scores = jnp.where((lengths > 0)[:, None], scores, -jnp.inf)
    seen, allowed = closed
    if allowed is not None:
        count = allowed.shape[0]
        # The last block may hold rows after the last item, which are unknown.
        here = jnp.minimum(first + jnp.arange(rows.shape[0], dtype=jnp.int32), count - 1)
        scores = jnp.where(allowed[here], scores, -jnp.inf)
    if seen is None:
        return scores
    positions = jnp.where(seen >= first, seen - first, rows.shape[0])  # a negative index would count from the end
    return scores.at[positions, jnp.arange(z.shape[0])[:, None]].set(-jnp.inf, mode="drop")


def _rows(items: Array, norms: Array | None, first: Array, block: int) -> tuple[Array, Array | None]:
    """`block` items starting at `first`, and their norms."""
    rows = lax.dynamic_slice_in_dim(items, first, block)
    return rows, None if norms is None else lax.dynamic_slice_in_dim(norms, first, block)


def norms_of(items: jax.Array) -> jax.Array:
    """The norm of each item's vector, f32[I]; 0 for unknown items."""
    return jnp.sqrt(jnp.square(items.astype(jnp.float32)).sum(-1))


def inverse(norms: jax.Array) -> jax.Array:
    """1 / norms, and 0 for 0."""
    return jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0)


def pad_to_multiple(x: Array, multiple: int, value: int) -> Array:
    """Pads the first axis to a multiple."""
    missing = -x.shape[0] % multiple
    return jnp.pad(x, ((0, missing), *[(0, 0)] * (x.ndim - 1)), constant_values=value) if missing else x
