"""Skip-gram with negative sampling over walks: the per-pair form as the reference, the banded form for speed."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.types import Array

Params = dict[str, jax.Array]


def init(n_nodes: int, dim: int, *, key: jax.Array) -> Params:
    """Initial tables, as in word2vec.

    Args:
      n_nodes: users and items together.
      dim: width F of a vector.
      key: random key.
    Returns:
      node f32[n, F], uniform within 1/2F of zero, the resulting vectors; context f32[n, F], zeros.
    """
    node = jax.random.uniform(key, (n_nodes, dim), minval=-0.5 / dim, maxval=0.5 / dim)
    return {"node": node, "context": jnp.zeros((n_nodes, dim))}


def noise_table(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
    """The noise distribution of negatives, p(v) ~ counts[v]**power (Mikolov et al. 2013), for `draw_noise`.

    Args:
      counts: how often each node stands in the walks, i[n], at least one of them above 0.
      power: 1 draws by frequency, 0 evenly.
    Returns:
      u32[n]: cumulative probability in units of 2**-32; 32-bit integers keep what float32 would lose for many nodes.
    Raises:
      ValueError: no node was visited.
    """
    weights = np.where(counts > 0, counts.astype(np.float64), 0.0) ** power * (counts > 0)
    if not weights.sum() > 0:
        raise ValueError("counts are all 0, expected a visited node; are there any walks?")
    cumulative = np.cumsum(weights) / weights.sum()
    return np.minimum(np.round(cumulative * 2.0**32), 2.0**32 - 1).astype(np.uint32)


def draw_noise(noise: Array, shape: tuple[int, ...], *, key: jax.Array) -> jax.Array:
    """Nodes drawn from a `noise_table` u32[n], i32[shape]."""
    bits = jax.random.bits(key, shape)
    drawn = jnp.searchsorted(jnp.asarray(noise), bits, side="right").astype(jnp.int32)
    return jnp.minimum(drawn, noise.shape[0] - 1)


def pairs_loss(
    params: Params, walks: Array, noise: Array, key: jax.Array, *, window: int, negatives: int
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean loss of all (centre, context) pairs, each with negatives of its own: the reference.

    META ID, eq. (9) with the softmax of eq. (10) replaced by negative sampling (Mikolov et al. 2013, eq. 4):
    -log s(<x_i, y_j>) - sum_k log s(-<x_i, y_k>), x from `node`, y from `context`.

    Args:
      params: `init`'s tables.
      walks: i32[B, L], -1 after a dead end.
      noise: u32[n] of `noise_table`.
      key: random key of the negatives.
      window: largest distance of a context from its centre.
      negatives: how many for each pair.
    Returns:
      Loss, f32[], 0 where no pair is; metrics "pairs" f32[].
    """
    length = walks.shape[1]
    offsets = np.array([d for d in range(-window, window + 1) if d != 0])
    at = np.arange(length)[:, None] + offsets  # [L, 2 * window]
    context = jnp.where((at >= 0) & (at < length), walks[:, np.clip(at, 0, length - 1)], -1)
    mask = (walks[:, :, None] >= 0) & (context >= 0)
    drawn = draw_noise(noise, (*context.shape, negatives), key=key)
    x = params["node"][jnp.maximum(walks, 0)]
    positive = jnp.einsum("blf,blcf->blc", x, params["context"][jnp.maximum(context, 0)])
    negative = jnp.einsum("blf,blckf->blck", x, params["context"][drawn])
    each = softplus(-positive) + softplus(negative).sum(-1)
    pairs = mask.sum().astype(jnp.float32)
    loss = jnp.where(mask, each, 0.0).sum() / jnp.maximum(pairs, 1.0)
    return loss, {"pairs": pairs}


def banded_loss(
    params: Params,
    walks: Array,
    noise: Array,
    key: jax.Array,
    *,
    window: int,
    negatives: int,
    shared: int = 32,
    block: int = 0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`pairs_loss` in expectation, from matrix products: the fast default.

    The vectors of a walk are read once; scores of all its positions are one product, of which the band
    |i - j| <= window counts. `shared` negatives serve a whole walk, weighted by negatives / shared, so that each pair
    has `negatives` of them in expectation. Gradients are accumulated in place, block by block, because buffers
    that stay in the cache made a step four times faster on CPU than one pass over the batch.

    Args:
      params: `init`'s tables.
      walks: i32[B, L], -1 after a dead end.
      noise: u32[n] of `noise_table`.
      key: random key of the negatives.
      window: largest distance of a context from its centre.
      negatives: how many each pair counts.
      shared: negatives drawn for each walk.
      block: walks at a time, a divisor of B; 0 takes all at once (accelerators).
    Returns:
      Loss, f32[]; metrics "pairs" f32[].
    Raises:
      ValueError: block does not divide B.
    """
    batch = walks.shape[0]
    block = block or batch
    if batch % block:
        raise ValueError(f"block={block} does not divide the {batch} walks; choose a divisor")
    drawn = draw_noise(noise, (batch, shared), key=key)
    summed: tuple[jax.Array, jax.Array] = _banded_sum(params, walks, drawn, window, negatives / shared, block)
    total, pairs = summed
    return total / jnp.maximum(pairs, 1.0), {"pairs": pairs}


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)), without the NaN handling of jax.nn.softplus that takes half of its time on CPU."""
    return jnp.maximum(x, 0.0) + jnp.log(1.0 + jnp.exp(-jnp.abs(x)))


# Written out, because max and abs have no derivative at 0, where every score starts.
softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))


def _block_sum(
    x: jax.Array, y: jax.Array, noise: jax.Array, walks: jax.Array, window: int, weight: float
) -> tuple[jax.Array, jax.Array]:
    """Summed loss and number of pairs of one block: x, y f32[b, L, F], noise f32[b, S, F], walks i32[b, L]."""
    length = walks.shape[1]
    place = np.arange(length)
    band = (abs(place[:, None] - place) <= window) & (place[:, None] != place)
    is_node = (walks >= 0).astype(jnp.float32)
    contexts = is_node * (is_node @ jnp.asarray(band, jnp.float32))  # of each centre
    pairs = contexts.sum()
    # Vectors of zeros where a walk has ended: their pairs have score 0, no gradient, and a loss of log 2 that is taken
    # off again. A mask of [b, L, L] would double the time on CPU.
    x, y = x * is_node[..., None], y * is_node[..., None]
    positive = jnp.where(band[None], softplus(-jnp.einsum("bif,bjf->bij", x, y)), 0.0).sum()
    positive = positive - np.log(2.0) * (walks.shape[0] * band.sum() - pairs)
    negative = softplus(jnp.einsum("bif,bsf->bis", x, noise)).sum(-1)
    return positive + weight * (contexts * negative).sum(), pairs


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _banded_sum(
    params: Params, walks: jax.Array, drawn: jax.Array, window: int, weight: float, block: int
) -> tuple[jax.Array, jax.Array]:
    return _banded_forward(params, walks, drawn, window, weight, block)[0]


def _banded_forward(
    params: Params, walks: jax.Array, drawn: jax.Array, window: int, weight: float, block: int
) -> tuple[tuple[jax.Array, jax.Array], Params]:
    """((loss, pairs), gradient of the loss by params): both in one sweep, since blocks are not kept for later."""
    value_and_grad = jax.value_and_grad(_block_sum, argnums=(0, 1, 2), has_aux=True)
    length, width = walks.shape[1], params["node"].shape[1]

    def add(carry, rows):
        loss, pairs, node, context = carry
        walk, noise = rows
        at = jnp.maximum(walk, 0)
        (value, count), (dx, dy, dnoise) = value_and_grad(
            params["node"][at], params["context"][at], params["context"][noise], walk, window, weight
        )
        node = node.at[at.reshape(-1)].add(dx.reshape(-1, width))
        context = context.at[at.reshape(-1)].add(dy.reshape(-1, width))
        context = context.at[noise.reshape(-1)].add(dnoise.reshape(-1, width))
        return (loss + value, pairs + count, node, context), None

    start = (jnp.zeros(()), jnp.zeros(()), jnp.zeros_like(params["node"]), jnp.zeros_like(params["context"]))
    blocks = (walks.reshape(-1, block, length), drawn.reshape(-1, block, drawn.shape[1]))
    (loss, pairs, node, context), _ = lax.scan(add, start, blocks)
    return (loss, pairs), {"node": node, "context": context}


def _banded_backward(window, weight, block, gradient, cotangents):
    return jax.tree.map(lambda g: g * cotangents[0], gradient), None, None


_banded_sum.defvjp(_banded_forward, _banded_backward)
