"""Decoder-only models of the LLaMA family: LLaMA 2 and 3, Mistral, Qwen 2 and 3, with LoRA or trained whole.

Suffixes of names are axes, see `jaxrec.types`: P = S + T are the positions of a prompt and its answer in one sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig
from jaxrec.keys import stream
from jaxrec.models.decoding import Cache, Memory, cache_end, causal, empty_cache, same_segment, update_cache
from jaxrec.models.dropout import Dropout
from jaxrec.models.grouped_attention import GroupedAttention, attend_grouped, attend_prompt_and_answer
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.linear import Linear, LowRank, frozen_dtype
from jaxrec.models.norms import RMSNorm
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.models.remat import apply_layer
from jaxrec.models.rope import rotations
from jaxrec.types import Array

Rotation = tuple[jax.Array, jax.Array]


def check_sizes(config: LlamaConfig) -> None:
    """Checks heads and window.

    Raises:
      ValueError: the number of heads is no multiple of that of keys, or the window is negative.
    """
    if config.kv_heads < 1 or config.heads % config.kv_heads:
        raise ValueError(f"heads={config.heads} is no multiple of kv_heads={config.kv_heads}")
    if config.window < 0:
        raise ValueError(f"window={config.window} is negative; 0 means that all positions are seen")


@dataclasses.dataclass(frozen=True)
class Drops:
    """The dropout of one call: `hidden` of attention weights and hidden states, `adapter` of the inputs of LoRA."""

    hidden: Dropout
    adapter: Dropout


class FeedForward(nnx.Module):
    """SwiGLU: (silu(x gate) * (x up)) down; Shazeer 2020."""

    def __init__(self, config: LlamaConfig, lora: LoraConfig, *, rngs: nnx.Rngs) -> None:
        def linear(rows: int, columns: int) -> Linear:
            adapted = "mlp" in lora.targets
            dtype = config.compute_dtype
            return Linear(rows, columns, dtype, bias=config.mlp_bias, lora=lora, adapted=adapted, rngs=rngs)

        self.gate = linear(config.d_model, config.d_ff)
        self.up = linear(config.d_model, config.d_ff)
        self.down = linear(config.d_ff, config.d_model)

    def __call__(self, x_BSD: jax.Array, drop: Dropout) -> jax.Array:
        """f32[B,S,D] -> f32[B,S,D]; `drop` is of the inputs of LoRA."""
        return self.down(jax.nn.silu(self.gate(x_BSD, drop)) * self.up(x_BSD, drop), drop)


class Layer(nnx.Module):
    """Self-attention and feed-forward; each normed before and added to its input."""

    def __init__(self, config: LlamaConfig, lora: LoraConfig, *, rngs: nnx.Rngs) -> None:
        self.attention_norm = RMSNorm(config.d_model, config.epsilon, frozen_dtype(lora))
        self.attention = GroupedAttention(config, lora, rngs=rngs)
        self.feed_forward_norm = RMSNorm(config.d_model, config.epsilon, frozen_dtype(lora))
        self.feed_forward = FeedForward(config, lora, rngs=rngs)
        self.dtype = config.compute_dtype

    def __call__(
        self,
        x_BSD: jax.Array,
        rotation: Rotation,
        mask_BSS: jax.Array,
        drops: Drops,
        weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """The whole layer, f32[B,S,D]; `weights` as in `attend_grouped`."""
        return self.attend(x_BSD, *self.project(x_BSD, rotation, drops), mask_BSS, drops, weights)

    def project(self, x_BSD: jax.Array, rotation: Rotation, drops: Drops) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries f32[B,H,S,K], keys and values f32[B,h,S,K] of f32[B,S,D]."""
        return self.attention.project(self.attention_norm(x_BSD), rotation, drops.adapter)

    def attend(
        self,
        x_BSD: jax.Array,
        q_BHSK: jax.Array,
        k_BhSK: jax.Array,
        v_BhSK: jax.Array,
        mask_BSS: jax.Array,
        drops: Drops,
        weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """The layer from `project` on, f32[B,S,D]."""
        attended_BHSK = attend_grouped(q_BHSK, k_BhSK, v_BhSK, mask_BSS, drops.hidden, self.dtype, weights)
        return self.finish(x_BSD, attended_BHSK, drops)

    def finish(self, x_BSD: jax.Array, attended_BHSK: jax.Array, drops: Drops) -> jax.Array:
        """The layer after attention, f32[B,S,D]."""
        x_BSD = x_BSD + drops.hidden(self.attention.merge(attended_BHSK, drops.adapter))
        return x_BSD + drops.hidden(self.feed_forward(self.feed_forward_norm(x_BSD), drops.adapter))


class Llama(LanguageModel):
    """A decoder-only model: prompt and answer are one sequence, each token seeing itself and what is before it.

    With LoRA its factors, the rows of new tokens and the OOV kernel are trained, and all other weights are frozen.

    Attributes:
      head: the head's table, or None where the head is the embedding table.

    Args:
      config: the sizes.
      oov: where the anchors of new tokens are added to embeddings; "encoder" means the input.
      lora: how the base model is adapted.
      anchors: f32[M,F], anchors of the tokens first_oov, first_oov + 1, ..., or None.
      first_oov: number of the first new token.
      start: the token between a prompt and its answer.
      rngs: its "params" stream initialises.
    Raises:
      ValueError: the number of heads is no multiple of that of keys, or the window is negative.
    """

    config: LlamaConfig

    def __init__(
        self,
        config: LlamaConfig,
        oov: OovConfig,
        lora: LoraConfig,
        anchors: np.ndarray | jax.Array | None,
        first_oov: int,
        start: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        check_sizes(config)

        def table(oov: OovConfig, anchors: np.ndarray | jax.Array | None) -> ExtendedEmbedding:
            return ExtendedEmbedding(
                config.vocab,
                config.d_model,
                oov,
                anchors,
                first_oov,
                config.compute_dtype,
                scale=config.d_model**-0.5,
                frozen=frozen_dtype(lora),
                rngs=rngs,
            )

        def adapter(target: str, rows: int, columns: int) -> LowRank | None:
            if lora.rank and target in lora.targets:
                return LowRank(rows, columns, lora, config.compute_dtype, rngs=rngs)
            return None

        self.config = config
        self.lora = lora
        self.start = start
        self.embedding = table(oov, anchors)
        self.embedding_adapter = adapter("embedding", config.vocab, config.d_model)
        self.layers = nnx.List([Layer(config, lora, rngs=rngs) for _ in range(config.layers)])
        self.norm = RMSNorm(config.d_model, config.epsilon, frozen_dtype(lora))
        self.head = None if config.tied else table(OovConfig("none"), None)
        self.head_adapter = adapter("head", config.d_model, config.vocab)

    def __call__(
        self,
        source: jax.Array,
        source_segments: jax.Array,
        inputs: jax.Array,
        target_segments: jax.Array,
        *,
        key: jax.Array | None = None,
        weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """Hidden states that predict the target's tokens, prompts and answers in one pass.

        All prompts of a row precede its answers; masks and positions follow the segments, so each answer continues
        at the position where its own prompt ends.

        Args:
          source: i32[B,S], prompts, padded with 0.
          source_segments: i32[B,S], the examples of a row as 1, 2, ..., 0 = padding.
          inputs: i32[B,T], answers shifted right: `start` first.
          target_segments: i32[B,T], as source_segments.
          key: for dropout, or None.
          weights: a list to which each layer's attention weights f32[B,H,P,P] are appended, or None.
        Returns:
          Hidden states of the inputs after the last norm, f32[B,T,D]; values at padding are arbitrary.
        """
        drops = self._drops(key)
        source, source_segments = self.shown(source, source_segments)
        tokens_BP = jnp.concatenate([source, inputs], axis=1)
        segments_BP = jnp.concatenate([source_segments, target_segments], axis=1)
        mask_BPP = same_segment(segments_BP, segments_BP) & np.tri(tokens_BP.shape[1], dtype=bool)[None]
        positions_BP = mask_BPP.sum(-1) - 1
        rotation = rotations(positions_BP, self.config.rope, self.config.d_kv)
        mask_of_layer = self._windowed(mask_BPP, positions_BP[:, :, None] - positions_BP[:, None, :])
        # What a checkpointed layer computes can't be handed out of it.
        remat = self.config.remat and weights is None
        x_BPD = drops.hidden(self.embed(tokens_BP))
        for n, layer in enumerate(self.layers):
            x_BPD = apply_layer(remat, layer, x_BPD, rotation, mask_of_layer(n), drops, weights)
        return drops.hidden(self.norm(x_BPD[:, source.shape[1] :]))

    def attention_to_prompt(self, source: jax.Array, inputs: jax.Array) -> jax.Array:
        """Self-attention's weights from answer to prompt, f32[Y,B,H,T,S]; see `LanguageModel.attention_to_prompt`."""
        weights: list[jax.Array] = []
        self(source, jnp.ones_like(source), inputs, jnp.ones_like(inputs), weights=weights)
        length = source.shape[1]
        return jnp.stack([weights_BHPP[:, :, length:, :length] for weights_BHPP in weights])

    def embed_words(self, tokens: jax.Array) -> jax.Array:
        """Embeddings of tokens with their anchors' projection, LoRA and items' rows, i32[B,S] -> f32[B,S,D]."""
        embedded_BSD = self.embedding(tokens, encoder=True)
        if self.embedding_adapter is not None:
            embedded_BSD += self.embedding_adapter.of_tokens(tokens)
        if self.items is not None:
            embedded_BSD += self.items.added(tokens)
        return embedded_BSD

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Scores of the vocabulary, f32[...,D] -> f32[...,V]; rows that pad the table are scored like any other."""
        scores = (self.embedding if self.head is None else self.head).scores(hidden)
        return scores if self.head_adapter is None else scores + self.head_adapter(hidden, Dropout(0, None))

    def read(self, source: jax.Array) -> Memory:
        """Rotated keys, and values, of prompts i32[B,S], padded with 0 on the right."""
        drops = self._drops(None)
        source, segments_BS = self.shown(source)
        mask_BSS = same_segment(segments_BS, segments_BS) & np.tri(source.shape[1], dtype=bool)[None]
        positions = self._positions(source != 0)
        rotation = rotations(jnp.asarray(positions), self.config.rope, self.config.d_kv)
        mask_of_layer = self._windowed(mask_BSS, positions[:, :, None] - positions[:, None, :])
        x_BSD = self.embed(source)
        keys, values = [], []
        for n, layer in enumerate(self.layers):
            q_BHSK, k_BhSK, v_BhSK = layer.project(x_BSD, rotation, drops)
            keys.append(k_BhSK)
            values.append(v_BhSK)
            if n < len(self.layers) - 1:  # nothing reads the last layer's output
                x_BSD = layer.attend(x_BSD, q_BHSK, k_BhSK, v_BhSK, mask_of_layer(n), drops)
        return Memory(tuple(keys), tuple(values), source != 0)

    def empty_cache(self, batch: int, beams: int, length: int) -> Cache:
        """A cache for `length` tokens of each beam."""
        return empty_cache(batch, beams, self.config.kv_heads, length, self.config.d_kv, self.config.layers)

    def step(self, tokens: jax.Array, position: int | Array, cache: Cache, memory: Memory) -> tuple[jax.Array, Cache]:
        """The next tokens of every beam, each seeing the prompt, itself and all before it.

        Args:
          tokens: i32[B,W,Q], at places position, ..., position + Q - 1 after the prompt; `start` is at place 0.
          position: how many tokens the cache holds; of a Python int nothing beyond is read, of i32[] the whole cache.
          cache: of the tokens before; its length is at least position + Q.
          memory: shared by the W beams.
        Returns:
          Hidden states after the last norm, f32[B,W,Q,D], and the cache with the new tokens.
        Raises:
          ValueError: the cache is too short.
        """
        batch, beams, count = tokens.shape
        end, width = cache_end(cache, position, count), cache.keys[0].shape[-1]
        drops = self._drops(None)
        places = position + np.arange(count)
        positions_BQ = memory.mask.sum(-1, dtype=jnp.int32)[:, None] + places[None]
        rotation = rotations(jnp.tile(positions_BQ, (1, beams)), self.config.rope, self.config.d_kv)
        prompt_positions = self._positions(memory.mask)[:, None]
        prompt_mask = self._windowed(memory.mask[:, None], positions_BQ[:, :, None] - prompt_positions)
        answer_mask = self._windowed(causal(position, count, end), places[:, None] - np.arange(end)[None])
        x_BRD = self.embed_words(tokens.reshape(batch, beams * count))  # R = W * Q
        keys, values = list(cache.keys), list(cache.values)

        def by_beam(projected_BHRK: jax.Array) -> jax.Array:
            heads = projected_BHRK.shape[1]
            return projected_BHRK.reshape(batch, heads, beams, count, width).transpose(0, 2, 1, 3, 4)

        for n, layer in enumerate(self.layers):
            q_BWHQK, k_BWhQK, v_BWhQK = (by_beam(a) for a in layer.project(x_BRD, rotation, drops))
            keys[n] = update_cache(keys[n], k_BWhQK, position)
            values[n] = update_cache(values[n], v_BWhQK, position)
            attended_BWHQK = attend_prompt_and_answer(
                q_BWHQK,
                (memory.keys[n], memory.values[n]),
                jnp.broadcast_to(prompt_mask(n), (batch, count, prompt_positions.shape[-1])),
                (keys[n][:, :, :, :end], values[n][:, :, :, :end]),
                answer_mask(n),
                self.config.compute_dtype,
            )
            attended = attended_BWHQK.transpose(0, 2, 1, 3, 4)
            attended_BHRK = attended.reshape(batch, self.config.heads, beams * count, width)
            x_BRD = layer.finish(x_BRD, attended_BHRK, drops)
        hidden_BWQD = self.norm(x_BRD).reshape(batch, beams, count, -1)
        return hidden_BWQD, Cache(tuple(keys), tuple(values))

    def _drops(self, key: jax.Array | None) -> Drops:
        def drop(rate: float, name: str) -> Dropout:
            return Dropout(rate, None if key is None else stream(key, name))

        return Drops(drop(self.config.dropout, "hidden"), drop(self.lora.dropout, "adapter"))

    def _positions(self, mask_BS: jax.Array) -> Array:
        """Positions of a prompt's tokens, i32[B or 1,S]; places that `shown` makes padding have none of their own."""
        if self.collaborative is None:
            return np.arange(mask_BS.shape[1])[None]
        return jnp.cumsum(mask_BS, axis=1, dtype=jnp.int32) - 1

    def _windowed(self, mask: Array, distance: Array) -> Callable[[int], jax.Array]:
        """The mask by the number of a layer, some of which have a sliding window.

        Args:
          mask: of a layer without a window, bool[...,Q,S].
          distance: how many positions each key is before the query, i32[...,Q,S].
        """
        config = self.config
        near = mask & (distance < config.window) if config.window else mask
        return lambda n: near if not config.windowed or n in config.windowed else mask
