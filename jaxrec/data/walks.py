"""Random walks over a `Graph`, many at once on the accelerator."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.data.graph import Graph
from jaxrec.types import Array


@functools.partial(jax.jit, static_argnames="length")
def walk(graph: Graph, starts: Array, length: int, *, key: jax.Array) -> jax.Array:
    """Meta-path walks; META ID, appendix A.1.

    The first edge is drawn uniformly from all edges of the start, which fixes the relation (the rating of
    eq. 6); each later one uniformly from the edges that may follow the last.

    Args:
      graph: edges and what may follow them.
      starts: first node of each walk, i32[n].
      length: nodes in a walk, static; n * length at most 2**32, so that no two draws share a counter.
      key: random key; equal keys give equal walks.
    Returns:
      Nodes, i32[n, length]; -1 after a dead end (after a start without edges all are -1).
    Raises:
      ValueError: length is below 1, or there are too many walks for one call.
    """
    n = starts.shape[0]
    if length < 1 or n * length > 2**32:
        raise ValueError(f"length={length} with {n} walks, wanted 1 or more and at most 2**32 nodes; walk in blocks")
    edges = jnp.asarray(graph.edges)
    seeds = jax.random.bits(key, (2,))
    counters = jnp.arange(n, dtype=jnp.uint32) * jnp.uint32(length)

    def step(state: tuple[jax.Array, jax.Array], i: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        low, count = state
        drawn = scale(scramble(scramble((counters + i) ^ seeds[0]) + seeds[1]), count.astype(jnp.uint32))
        # A dead end has low = count = 0: it reads edge 0, and `where` discards that.
        row = edges.at[low + drawn.astype(jnp.int32)].get(mode="promise_in_bounds")
        alive = count > 0
        node, low, count = (jnp.where(alive, row[:, column], fill) for column, fill in ((0, -1), (1, 0), (2, 0)))
        return (low, count), node

    if graph.n_edges == 0 or length == 1:
        dead_ends = jnp.full((n, length - 1), -1, jnp.int32)
        return jnp.concatenate([jnp.asarray(starts, jnp.int32)[:, None], dead_ends], axis=1)
    degree = jnp.asarray(graph.degree)[starts]
    first = jnp.where(degree > 0, jnp.asarray(graph.first)[starts], 0)
    _, nodes = lax.scan(step, (first, degree), jnp.arange(1, length, dtype=jnp.uint32))
    return jnp.concatenate([jnp.asarray(starts, jnp.int32)[None], nodes]).T


def scramble(x: jax.Array) -> jax.Array:
    """A bijection of uint32 whose output bits all depend on all input bits ("lowbias32" of C. Wellons, 2018).

    Two rounds with a key between them serve as a counter-based generator. It costs a few integer operations that
    fuse into the walk, where the default generator took longer than the walk itself.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def scale(bits: jax.Array, size: jax.Array) -> jax.Array:
    """floor(bits * size / 2**32): uniform bits u32 to a number below size u32, in 32-bit arithmetic.

    Off from uniform by at most size / 2**32 per number (Lemire 2019, without the rejection).
    """
    bits_high, bits_low = bits >> 16, bits & 0xFFFF
    size_high, size_low = size >> 16, size & 0xFFFF
    middle = bits_high * size_low + (bits_low * size_low >> 16)
    other = bits_low * size_high + (middle & 0xFFFF)
    return bits_high * size_high + (middle >> 16) + (other >> 16)
