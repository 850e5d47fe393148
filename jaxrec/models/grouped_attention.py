"""Attention of the LLaMA family: rotary positions, grouped queries that share keys, perhaps a sliding window.

Suffixes of names are axes, see `jaxrec.types`: h counts the heads of keys, each shared by a group of G = H / h heads
of queries.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig
from jaxrec.models.dropout import Dropout
from jaxrec.models.fused_attention import MASKED
from jaxrec.models.linear import Linear, frozen_dtype
from jaxrec.models.norms import RMSNorm
from jaxrec.models.products import product
from jaxrec.models.rope import rotate


def attend_grouped(
    q_BHQK: jax.Array,
    k_BhSK: jax.Array,
    v_BhSK: jax.Array,
    mask_BQS: jax.Array,
    drop: Dropout,
    dtype: str,
    weights: list[jax.Array] | None = None,
) -> jax.Array:
    """softmax(q k / sqrt(K)) v, where the queries of a group are one axis to their shared keys.

    Args:
      q_BHQK: queries, f32[B,H,Q,K].
      k_BhSK: keys, f32[B,h,S,K].
      v_BhSK: values, f32[B,h,S,K].
      mask_BQS: True = the query sees the key, bool[B,Q,S].
      drop: dropout of the weights.
      dtype: of the products' operands.
      weights: a list to which the attention weights f32[B,H,Q,S] are appended, or None.
    Returns:
      f32[B,H,Q,K]; the mean of all values, and so finite, where the mask is False for all keys of a query.
    """
    batch, heads, queries, width = q_BHQK.shape
    _, shared, keys, _ = k_BhSK.shape
    q_BhRK = (q_BHQK * width**-0.5).reshape(batch, shared, -1, width)  # R = G * Q
    scores_BHQS = product("bhqk,bhsk->bhqs", q_BhRK, k_BhSK, dtype).reshape(batch, heads, queries, keys)
    weights_BHQS = drop(jax.nn.softmax(jnp.where(mask_BQS[:, None], scores_BHQS, MASKED), axis=-1))
    if weights is not None:
        weights.append(weights_BHQS)
    attended_BhRK = product("bhqs,bhsk->bhqk", weights_BHQS.reshape(batch, shared, -1, keys), v_BhSK, dtype)
    return attended_BhRK.reshape(q_BHQK.shape)


def attend_prompt_and_answer(
    q_BWHQK: jax.Array,
    prompt: tuple[jax.Array, jax.Array],
    prompt_mask_BQS: jax.Array,
    answer: tuple[jax.Array, jax.Array],
    answer_mask_QT: jax.Array | np.ndarray,
    dtype: str,
) -> jax.Array:
    """One softmax over the prompt, which a row's beams share, and over each beam's own tokens.

    Args:
      q_BWHQK: queries, f32[B,W,H,Q,K].
      prompt: keys and values of the prompt, f32[B,h,S,K]; W * G * Q are one axis of queries to it.
      prompt_mask_BQS: True = the query sees the key, bool[B,Q,S].
      answer: keys and values of each beam's tokens, f32[B,W,h,T,K].
      answer_mask_QT: likewise, bool[Q,T].
      dtype: of the products' operands.
    Returns:
      f32[B,W,H,Q,K].
    """
    (prompt_k_BhSK, prompt_v_BhSK), (answer_k_BWhTK, answer_v_BWhTK) = prompt, answer
    batch, beams, heads, queries, width = q_BWHQK.shape
    shared, keys = prompt_k_BhSK.shape[1:3]
    group, length = heads // shared, answer_k_BWhTK.shape[3]
    q_BWhRK = (q_BWHQK * width**-0.5).reshape(batch, beams, shared, group * queries, width)  # R = G * Q
    q_BhAK = q_BWhRK.transpose(0, 2, 1, 3, 4).reshape(batch, shared, -1, width)  # A = W * G * Q
    prompt_scores = product("bhqk,bhsk->bhqs", q_BhAK, prompt_k_BhSK, dtype)
    prompt_scores_BhWGQS = prompt_scores.reshape(batch, shared, beams, group, queries, keys)
    prompt_scores_BhWGQS = jnp.where(prompt_mask_BQS[:, None, None, None], prompt_scores_BhWGQS, MASKED)
    answer_scores = product("bwhqk,bwhtk->bwhqt", q_BWhRK, answer_k_BWhTK, dtype)
    answer_scores_BWhGQT = answer_scores.reshape(batch, beams, shared, group, queries, length)
    answer_scores_BhWGQT = answer_scores_BWhGQT.transpose(0, 2, 1, 3, 4, 5)
    answer_scores_BhWGQT = jnp.where(answer_mask_QT[None, None, None, None], answer_scores_BhWGQT, MASKED)
    weights = jax.nn.softmax(jnp.concatenate([prompt_scores_BhWGQS, answer_scores_BhWGQT], axis=-1), axis=-1)
    prompt_weights_BhWGQS, answer_weights_BhWGQT = weights[..., :keys], weights[..., keys:]
    prompt_weights_BhAS = prompt_weights_BhWGQS.reshape(batch, shared, -1, keys)
    from_prompt_BhAK = product("bhqs,bhsk->bhqk", prompt_weights_BhAS, prompt_v_BhSK, dtype)
    answer_weights = answer_weights_BhWGQT.transpose(0, 2, 1, 3, 4, 5)
    answer_weights_BWhRT = answer_weights.reshape(batch, beams, shared, -1, length)
    from_answer_BWhRK = product("bwhqt,bwhtk->bwhqk", answer_weights_BWhRT, answer_v_BWhTK, dtype)
    from_prompt_BWhRK = from_prompt_BhAK.reshape(batch, shared, beams, -1, width).transpose(0, 2, 1, 3, 4)
    return (from_prompt_BWhRK + from_answer_BWhRK).reshape(q_BWHQK.shape)


class GroupedAttention(nnx.Module):
    """The four projections of grouped-query attention; queries and keys are normed (Qwen 3) and rotated.

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
        self, x_BSD: jax.Array, rotation: tuple[jax.Array, jax.Array], drop: Dropout
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries f32[B,H,S,K], keys and values f32[B,h,S,K] of f32[B,S,D]; `drop` is of the inputs of LoRA."""
        layers = self.query, self.key, self.value
        q_BHSK, k_BhSK, v_BhSK = (self._split_heads(layer(x_BSD, drop)) for layer in layers)
        if self.query_norm is not None and self.key_norm is not None:
            q_BHSK, k_BhSK = self.query_norm(q_BHSK), self.key_norm(k_BhSK)
        return rotate(q_BHSK, rotation), rotate(k_BhSK, rotation), v_BhSK

    def merge(self, attended_BHQK: jax.Array, drop: Dropout) -> jax.Array:
        """Concatenates the heads and projects them back: f32[B,H,Q,K] -> f32[B,Q,D]."""
        batch, heads, queries, width = attended_BHQK.shape
        return self.output(attended_BHQK.transpose(0, 2, 1, 3).reshape(batch, queries, heads * width), drop)

    def _split_heads(self, x: jax.Array) -> jax.Array:
        """f32[B,S,H*K] -> f32[B,H,S,K]."""
        return x.reshape(*x.shape[:2], -1, self.d_kv).transpose(0, 2, 1, 3)
