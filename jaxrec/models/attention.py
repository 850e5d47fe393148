"""T5's attention: no scale, no biases, a learned bias per bucket of relative distance, masks by segment.

Suffixes of names are axes, see `jaxrec.types`: q_BHQK is f32[B,H,Q,K].
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.models.decoding import causal as causal_mask
from jaxrec.models.decoding import same_segment
from jaxrec.models.dropout import Dropout
from jaxrec.models.fused_attention import MASKED, fits, fused_attention
from jaxrec.models.fused_attention import Settings as KernelSettings
from jaxrec.models.products import activations, product, projected
from jaxrec.platform import platform
from jaxrec.types import Array


def relative_bucket(distance: np.ndarray, buckets: int, max_distance: int, *, bidirectional: bool) -> np.ndarray:
    """T5's buckets: one each for short distances, logarithmic ones up to `max_distance`; Raffel et al. 2020.

    Args:
      distance: key position minus query position, i32[...].
      buckets: how many there are; half of them for each direction where both are seen.
      max_distance: all farther distances share the last bucket.
      bidirectional: False for a decoder, where keys after the query all fall into bucket 0.
    Returns:
      i32[...], in [0, buckets).
    """
    distance = np.asarray(distance, np.int32)
    if bidirectional:
        buckets //= 2
        first = np.where(distance > 0, buckets, 0)
        away = np.abs(distance)
    else:
        first = np.zeros_like(distance)
        away = np.maximum(-distance, 0)
    exact = buckets // 2
    log_share = np.log(np.maximum(away, 1).astype(np.float32) / exact) / np.log(np.float32(max_distance / exact))
    far = np.minimum(exact + (log_share * (buckets - exact)).astype(np.int32), buckets - 1)
    return (first + np.where(away < exact, away, far)).astype(np.int32)


def diagonals(values: jax.Array, queries: int, keys: int) -> jax.Array:
    """Matrices that are constant along diagonals: out[h, i, j] = values[h, j - i + queries - 1].

    Built by repeating, slicing and reshaping, so that the gradient is a sum and not a scatter with a few hot rows.

    Args:
      values: f32[H,Q+S-1].
      queries: Q, rows of the result.
      keys: S, columns of the result.
    Returns:
      f32[H,Q,S].
    """
    heads, count = values.shape
    rows = jnp.broadcast_to(jnp.pad(values, ((0, 0), (0, 1)))[:, None], (heads, queries, count + 1))
    flat = rows.reshape(heads, queries * (count + 1))
    return flat[:, queries - 1 : queries - 1 + queries * count].reshape(heads, queries, count)[:, :, :keys]


class RelativeBias(nnx.Module):
    """A learned number per bucket of distance and head, shared by the layers of a stack."""

    def __init__(
        self, buckets: int, max_distance: int, heads: int, *, bidirectional: bool, scale: float, rngs: nnx.Rngs
    ) -> None:
        self.table = nnx.Param(jax.random.normal(rngs.params(), (buckets, heads)) * scale)
        self.max_distance = max_distance
        self.bidirectional = bidirectional

    def __call__(self, queries: int, keys: int, position: int | Array = 0) -> jax.Array:
        """The bias f32[H,Q,S] for `queries` queries at position, position + 1, ... and `keys` keys at 0, 1, ...

        A position that is an array on the device, i32[], is at most keys - queries.
        """
        count = queries + keys - 1
        if isinstance(position, jax.Array):
            all_buckets = self._buckets(np.arange(2 * keys - 1) - (keys - 1))
            bucket = jax.lax.dynamic_slice_in_dim(jnp.asarray(all_buckets), keys - queries - position, count)
        else:
            bucket = self._buckets(np.arange(count) - (queries - 1) - position)
        return diagonals(self.table[...][bucket].T, queries, keys)

    def _buckets(self, distance: np.ndarray) -> np.ndarray:
        buckets = self.table.shape[0]
        return relative_bucket(distance, buckets, self.max_distance, bidirectional=self.bidirectional)


def attend(
    q_BHQK: jax.Array,
    k_BHSK: jax.Array,
    v_BHSK: jax.Array,
    bias_HQS: jax.Array | None,
    mask_BQS: jax.Array,
    drop: Dropout,
    dtype: str,
    weights: list[jax.Array] | None = None,
) -> jax.Array:
    """softmax(q k + bias) v, not scaled by 1/sqrt(K), as in T5; softmax in float32.

    Args:
      q_BHQK: queries, f32[B,H,Q,K].
      k_BHSK: keys, f32[B,H,S,K].
      v_BHSK: values, f32[B,H,S,K].
      bias_HQS: f32[H,Q,S] or None.
      mask_BQS: True = the query sees the key, bool[B or 1, Q or 1, S].
      drop: dropout of the weights.
      dtype: of the products' operands.
      weights: a list to which the attention weights f32[B,H,Q,S] are appended, or None.
    Returns:
      f32[B,H,Q,K]; the mean of all values, and so finite, where the mask is False for all keys of a query.
    """
    scores_BHQS = product("bhqk,bhsk->bhqs", q_BHQK, k_BHSK, dtype)
    if bias_HQS is not None:
        scores_BHQS = _add_bias(scores_BHQS, bias_HQS)
    weights_BHQS = drop(jax.nn.softmax(jnp.where(mask_BQS[:, None], scores_BHQS, MASKED), axis=-1))
    if weights is not None:
        weights.append(weights_BHQS)
    return product("bhqs,bhsk->bhqk", weights_BHQS, v_BHSK, dtype).astype(activations(dtype))


@jax.custom_vjp
def _add_bias(scores_BHQS: jax.Array, bias_HQS: jax.Array) -> jax.Array:
    """Adds one bias to every row of the batch; its gradient sums the batch by a product with ones.

    XLA's own reduction over that leading axis takes several times as long on CPU.
    """
    return scores_BHQS + bias_HQS[None]


def _add_bias_backward(_: None, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    ones = jnp.ones(cotangent.shape[0])
    return cotangent, jnp.einsum("b,bhqs->hqs", ones, cotangent, precision=jax.lax.Precision.HIGHEST)


_add_bias.defvjp(lambda scores, bias: (_add_bias(scores, bias), None), _add_bias_backward)


@dataclasses.dataclass(frozen=True)
class Segments:
    """Which keys a query sees: those of its own example of a packed row.

    Attributes:
      queries: number of the example at each place, i32[B,Q].
      keys: i32[B,S], 0 = padding, which no query sees.
      causal: whether a query sees only the keys at its place and before.
      mask: the same as bool[B,Q,S].
    """

    queries: jax.Array
    keys: jax.Array
    causal: bool
    mask: jax.Array


def segments(queries: jax.Array, keys: jax.Array, *, causal: bool = False) -> Segments:
    """`Segments` with the mask; Q = S where it is causal."""
    mask = same_segment(queries, keys)
    if causal:
        mask &= causal_mask(0, queries.shape[1], keys.shape[1])[None]
    return Segments(queries, keys, causal, mask)


class Attention(nnx.Module):
    """Multi-head attention with its four projections; Raffel et al. 2020, initialised as T5 is.

    Args:
      d_model: D.
      heads: H.
      d_kv: K; kernels are [D,H*K], of the output [H*K,D].
      dtype: of the products' operands.
    """

    def __init__(self, d_model: int, heads: int, d_kv: int, dtype: str, *, rngs: nnx.Rngs) -> None:
        def kernel(rows: int, columns: int, scale: float) -> nnx.Param:
            return nnx.Param(jax.random.normal(rngs.params(), (rows, columns)) * scale)

        width = heads * d_kv
        self.query = kernel(d_model, width, (d_model * d_kv) ** -0.5)
        self.key = kernel(d_model, width, d_model**-0.5)
        self.value = kernel(d_model, width, d_model**-0.5)
        self.output = kernel(width, d_model, width**-0.5)
        self.heads = heads
        self.dtype = dtype

    def __call__(
        self,
        x_BQD: jax.Array,
        read_BSD: jax.Array,
        bias_HQS: jax.Array | None,
        seen: Segments,
        drop: Dropout,
        weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """What the positions of x read at those of `read`, [B,Q,D]; the other arguments as in `attend`."""
        heads, width = self.heads, self.query.shape[1] // self.heads
        if platform() == "tpu" and weights is None and fits(x_BQD.shape[1], read_BSD.shape[1], heads, width):
            settings = KernelSettings(heads, seen.causal, bias_HQS is not None, drop.rate, self.dtype)
            q_BQA = projected(x_BQD, self.query[...], self.dtype)
            k_BSA, v_BSA = (projected(read_BSD, kernel[...], self.dtype) for kernel in (self.key, self.value))
            attended_BQA = fused_attention(
                settings, q_BQA, k_BSA, v_BSA, bias_HQS, seen.queries, seen.keys, drop.next_seed()
            )
            return projected(attended_BQA, self.output[...], self.dtype)
        q_BHQK, (k_BHSK, v_BHSK) = self.queries(x_BQD), self.keys_values(read_BSD)
        return self.merge(attend(q_BHQK, k_BHSK, v_BHSK, bias_HQS, seen.mask, drop, self.dtype, weights))

    def queries(self, x_BQD: jax.Array) -> jax.Array:
        """Queries [B,H,Q,K] of [B,Q,D]."""
        return self._split_heads(projected(x_BQD, self.query[...], self.dtype))

    def keys_values(self, x_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Keys and values, [B,H,S,K] each, of [B,S,D]."""
        keys = projected(x_BSD, self.key[...], self.dtype)
        values = projected(x_BSD, self.value[...], self.dtype)
        return self._split_heads(keys), self._split_heads(values)

    def merge(self, attended_BHQK: jax.Array) -> jax.Array:
        """Concatenates the heads and projects them back: [B,H,Q,K] -> [B,Q,D]."""
        batch, heads, queries, width = attended_BHQK.shape
        joined = attended_BHQK.transpose(0, 2, 1, 3).reshape(batch, queries, heads * width)
        return projected(joined, self.output[...], self.dtype)

    def _split_heads(self, x: jax.Array) -> jax.Array:
        """[B,S,H*K] -> [B,H,S,K]."""
        batch, length, width = x.shape
        return x.reshape(batch, length, self.heads, width // self.heads).transpose(0, 2, 1, 3)
