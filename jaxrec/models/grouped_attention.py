"""Attention of the LLaMA family: rotary positions, keys that groups of heads share, perhaps a sliding window.

Heads come first inside this file: arrays are named by their axes, q_BHQK = queries [B, H, queries, K]; h counts the
heads of keys, each read by G = H / h heads of queries.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig
from jaxrec.models.attention import MASKED
from jaxrec.models.dropout import Dropout
from jaxrec.models.linear import Linear, frozen_dtype
from jaxrec.models.norms import RMSNorm
from jaxrec.models.products import product
from jaxrec.models.rope import rotate


def attend(
    q_BHQK: jax.Array, k_BhSK: jax.Array, v_BhSK: jax.Array, mask_BQS: jax.Array, drop: Dropout, dtype: str
) -> jax.Array:
    """softmax(q k / sqrt(K)) v, where the queries of a group are one axis to their shared keys.

    Args:
      q_BHQK: queries, f32[B,H,Q,K].
      k_BhSK: keys, f32[B,h,S,K].
      v_BhSK: values, f32[B,h,S,K].
      mask_BQS: True = may look, bool[B,Q,S].
      drop: dropout of the weights.
      dtype: of the products' operands.
    Returns:
      f32[B,H,Q,K]; finite, the mean of the values, where a query may look at nothing.
    """
    batch, heads, queries, width = q_BHQK.shape
    _, shared, keys, _ = k_BhSK.shape
    q_BhXK = (q_BHQK * width**-0.5).reshape(batch, shared, -1, width)
    scores = product("bhqk,bhsk->bhqs", q_BhXK, k_BhSK, dtype).reshape(batch, heads, queries, keys)
    weights = drop(jax.nn.softmax(jnp.where(mask_BQS[:, None], scores, MASKED), axis=-1))
    attended = product("bhqs,bhsk->bhqk", weights.reshape(batch, shared, -1, keys), v_BhSK, dtype)
    return attended.reshape(q_BHQK.shape)


def attend_both(
    q_BWHQK: jax.Array,
    memory: tuple[jax.Array, jax.Array],
    memory_mask_BQS: jax.Array,
    said: tuple[jax.Array, jax.Array],
    said_mask_QT: jax.Array | np.ndarray,
    dtype: str,
) -> jax.Array:
    """One softmax over the prompt, which a row's beams share, and over what each beam has said.

    Args:
      q_BWHQK: queries, f32[B,W,H,Q,K].
      memory: keys and values of the prompt, f32[B,h,S,K]; W * G * Q are one axis of queries to it.
      memory_mask_BQS: True = may look, bool[B,Q,S].
      said: keys and values of each beam, f32[B,W,h,T,K].
      said_mask_QT: likewise, bool[Q,T].
      dtype: of the products' operands.
    Returns:
      f32[B,W,H,Q,K].
    """
    batch, beams, heads, queries, width = q_BWHQK.shape
    shared, keys = memory[0].shape[1:3]
    group, length = heads // shared, said[0].shape[3]
    q_BWhXK = (q_BWHQK * width**-0.5).reshape(batch, beams, shared, group * queries, width)
    q_BhXK = q_BWhXK.transpose(0, 2, 1, 3, 4).reshape(batch, shared, -1, width)
    of_memory = product("bhqk,bhsk->bhqs", q_BhXK, memory[0], dtype)
    of_memory = of_memory.reshape(batch, shared, beams, group, queries, keys)
    of_memory = jnp.where(memory_mask_BQS[:, None, None, None], of_memory, MASKED)
    of_said = product("bwhqk,bwhtk->bwhqt", q_BWhXK, said[0], dtype)
    of_said = of_said.reshape(batch, beams, shared, group, queries, length).transpose(0, 2, 1, 3, 4, 5)
    of_said = jnp.where(said_mask_QT[None, None, None, None], of_said, MASKED)
    weights = jax.nn.softmax(jnp.concatenate([of_memory, of_said], axis=-1), axis=-1)
    of_memory, of_said = weights[..., :keys], weights[..., keys:]
    read = product("bhqs,bhsk->bhqk", of_memory.reshape(batch, shared, -1, keys), memory[1], dtype)
    of_said = of_said.transpose(0, 2, 1, 3, 4, 5).reshape(batch, beams, shared, -1, length)
    own = product("bwhqt,bwhtk->bwhqk", of_said, said[1], dtype)
    read = read.reshape(batch, shared, beams, -1, width).transpose(0, 2, 1, 3, 4)
    return (read + own).reshape(q_BWHQK.shape)


class GroupedAttention(nnx.Module):
    """The four projections; queries and keys come out normed (Qwen 3) and rotated.

    Args:
      config: widths and biases.
      lora: whether kernels are frozen and adapted.
      rngs: its "params" stream initialises.
    """

    def __init__(self, config: LlamaConfig, lora: LoraConfig, *, rngs: nnx.Rngs) -> None:
        def linear(rows: int, columns: int, bias: bool) -> Linear:
            adapted = "attention" in lora.targets
            return Linear(rows, columns, config.compute_dtype, bias=bias, lora=lora, adapted=adapted, rngs=rngs)

        width, shared = config.heads * config.d_kv, config.kv_heads * config.d_kv
        self.query = linear(config.d_model, width, config.qkv_bias)
        self.key = linear(config.d_model, shared, config.qkv_bias)
        self.value = linear(config.d_model, shared, config.qkv_bias)
        self.output = linear(width, config.d_model, config.output_bias)
        self.query_norm = RMSNorm(config.d_kv, config.epsilon, frozen_dtype(lora)) if config.qk_norm else None
        self.key_norm = RMSNorm(config.d_kv, config.epsilon, frozen_dtype(lora)) if config.qk_norm else None
        self.d_kv = config.d_kv

    def project(
        self, x: jax.Array, rotation: tuple[jax.Array, jax.Array], drop: Dropout
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries f32[B,H,S,K], keys and values f32[B,h,S,K] of f32[B,S,D]; `drop` is LoRA's."""
        queries, keys, values = (self._split(layer(x, drop)) for layer in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            queries, keys = self.query_norm(queries), self.key_norm(keys)
        return rotate(queries, rotation), rotate(keys, rotation), values

    def merge(self, attended_BHQK: jax.Array, drop: Dropout) -> jax.Array:
        """The heads side by side, projected back: f32[B,H,Q,K] -> f32[B,Q,D]."""
        batch, heads, queries, width = attended_BHQK.shape
        return self.output(attended_BHQK.transpose(0, 2, 1, 3).reshape(batch, queries, heads * width), drop)

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], -1, self.d_kv).transpose(0, 2, 1, 3)
