"""Decoder-only models of the LLaMA family: LLaMA 2 and 3, Mistral, Qwen 2 and 3, with LoRA or trained whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import LlamaConfig, LoraConfig, OovConfig
from jaxrec.keys import stream
from jaxrec.models.decoding import Cache, Memory, causal, empty_cache, reach, same_segment, write
from jaxrec.models.dropout import Dropout
from jaxrec.models.grouped_attention import GroupedAttention, attend, attend_both
from jaxrec.models.linear import Linear, LowRank, frozen_dtype
from jaxrec.models.norms import RMSNorm
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.models.remat import run
from jaxrec.models.rope import rotations
from jaxrec.types import Array

Rotation = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True)
class Drops:
    """The dropout of one call: `hidden` of weights and hidden states, `adapter` of what LoRA's factors read."""

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

    def __call__(self, x: jax.Array, drop: Dropout) -> jax.Array:
        """f32[B,S,D] -> f32[B,S,D]; `drop` is LoRA's."""
        return self.down(jax.nn.silu(self.gate(x, drop)) * self.up(x, drop), drop)


class Layer(nnx.Module):
    """Self-attention and feed-forward; each normed before, added after."""

    def __init__(self, config: LlamaConfig, lora: LoraConfig, *, rngs: nnx.Rngs) -> None:
        self.attention_norm = RMSNorm(config.d_model, config.epsilon, frozen_dtype(lora))
        self.attention = GroupedAttention(config, lora, rngs=rngs)
        self.feed_forward_norm = RMSNorm(config.d_model, config.epsilon, frozen_dtype(lora))
        self.feed_forward = FeedForward(config, lora, rngs=rngs)
        self.dtype = config.compute_dtype

    def __call__(self, x: jax.Array, rotation: Rotation, mask: jax.Array, drops: Drops) -> jax.Array:
        """The whole layer over f32[B,S,D], with a mask bool[B,S,S]."""
        return self.attend(x, *self.project(x, rotation, drops), mask, drops)

    def project(self, x: jax.Array, rotation: Rotation, drops: Drops) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries f32[B,H,S,K], keys and values f32[B,h,S,K] of f32[B,S,D]."""
        return self.attention.project(self.attention_norm(x), rotation, drops.adapter)

    def attend(
        self, x: jax.Array, queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array, drops: Drops
    ) -> jax.Array:
        """What follows `project`, f32[B,S,D]."""
        return self.finish(x, attend(queries, keys, values, mask, drops.hidden, self.dtype), drops)

    def finish(self, x: jax.Array, attended: jax.Array, drops: Drops) -> jax.Array:
        """What follows attention, f32[B,S,D]."""
        x = x + drops.hidden(self.attention.merge(attended, drops.adapter))
        return x + drops.hidden(self.feed_forward(self.feed_forward_norm(x), drops.adapter))


class Llama(nnx.Module):
    """A decoder-only model: prompt and answer are one sequence, each token seeing itself and what is before it.

    It holds no random streams: a `key` gives dropout, key=None is evaluation. Token 0 is padding. With LoRA, its
    factors, the rows of new tokens and the OOV kernel are trained, and all other weights are frozen.

    Attributes:
      start: the token between a prompt and its answer.
      head: the table of a head that is not tied.

    Args:
      config: the shape.
      oov: where new tokens' anchors are projected in: "encoder" means the input.
      lora: how the base model is adapted.
      anchors: f32[M,F], anchors of the tokens first_oov, first_oov + 1, ..., or None.
      first_oov: number of the first new token.
      start: the token between a prompt and its answer.
      rngs: its "params" stream initialises.
    Raises:
      ValueError: the heads cannot share keys evenly, or the window is negative.
    """

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
        if config.kv_heads < 1 or config.heads % config.kv_heads:
            raise ValueError(f"heads={config.heads} is no multiple of kv_heads={config.kv_heads}")
        if config.window < 0:
            raise ValueError(f"window={config.window} is negative; 0 means that all positions are seen")

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
    ) -> jax.Array:
        """Hidden states that predict the target's tokens, prompts and answers in one pass.

        All prompts of a row stand before its answers; masks and positions follow the segments, so each answer goes on
        where its own prompt ends.

        Args:
          source: i32[B,S], prompts, padded with 0.
          source_segments: i32[B,S], the examples of a row as 1, 2, ..., 0 = padding.
          inputs: i32[B,T], answers shifted right: `start` first.
          target_segments: i32[B,T], as source_segments.
          key: for dropout, or None.
        Returns:
          Hidden states of the inputs after the last norm, f32[B,T,D]; what stands on padding means nothing.
        """
        drops = self._drops(key)
        tokens = jnp.concatenate([source, inputs], axis=1)
        segments = jnp.concatenate([source_segments, target_segments], axis=1)
        mask = same_segment(segments, segments) & np.tri(tokens.shape[1], dtype=bool)[None]
        positions = mask.sum(-1) - 1
        rotation = rotations(positions, self.config.rope, self.config.d_kv)
        seen = self._seen(mask, positions[:, :, None] - positions[:, None, :])
        x = drops.hidden(self._embed(tokens))
        for n, layer in enumerate(self.layers):
            x = run(self.config.remat, layer, x, rotation, seen(n), drops)
        return drops.hidden(self.norm(x[:, source.shape[1] :]))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Scores of the vocabulary, f32[...,D] -> f32[...,V]; padded rows of the table are scored like any other."""
        scores = (self.embedding if self.head is None else self.head).scores(hidden)
        return scores if self.head_adapter is None else scores + self.head_adapter(hidden, Dropout(0, None))

    def read(self, source: jax.Array) -> Memory:
        """What `step` looks at of prompts i32[B,S], padded with 0 on the right: keys, rotated, and values."""
        drops = self._drops(None)
        segments = (source != 0).astype(jnp.int32)
        mask = same_segment(segments, segments) & np.tri(source.shape[1], dtype=bool)[None]
        positions = np.arange(source.shape[1])[None]
        rotation = rotations(jnp.asarray(positions), self.config.rope, self.config.d_kv)
        seen = self._seen(mask, positions[:, :, None] - positions[:, None, :])
        x = self._embed(source)
        keys, values = [], []
        for n, layer in enumerate(self.layers):
            projected = layer.project(x, rotation, drops)
            keys.append(projected[1])
            values.append(projected[2])
            if n < len(self.layers) - 1:  # of the last layer nobody asks more
                x = layer.attend(x, *projected, seen(n), drops)
        return Memory(tuple(keys), tuple(values), source != 0)

    def empty_cache(self, batch: int, beams: int, length: int) -> Cache:
        """Room for `length` tokens of each beam."""
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
        end, width = reach(cache, position, count), cache.keys[0].shape[-1]
        drops = self._drops(None)
        places = position + np.arange(count)
        before = memory.mask.sum(-1, dtype=jnp.int32)[:, None] + places[None]
        rotation = rotations(jnp.tile(before, (1, beams)), self.config.rope, self.config.d_kv)
        prompt = np.arange(memory.mask.shape[1])[None, None]
        seen = self._seen(memory.mask[:, None], before[:, :, None] - prompt)
        seen_said = self._seen(causal(position, count, end), places[:, None] - np.arange(end)[None])
        x = self._embed(tokens.reshape(batch, beams * count))
        keys, values = list(cache.keys), list(cache.values)

        def by_beam(projected: jax.Array) -> jax.Array:
            heads = projected.shape[1]
            return projected.reshape(batch, heads, beams, count, width).transpose(0, 2, 1, 3, 4)

        for n, layer in enumerate(self.layers):
            queries, *new = (by_beam(a) for a in layer.project(x, rotation, drops))
            keys[n], values[n] = write(keys[n], new[0], position), write(values[n], new[1], position)
            attended = attend_both(
                queries,
                (memory.keys[n], memory.values[n]),
                jnp.broadcast_to(seen(n), (batch, count, prompt.shape[-1])),
                (keys[n][:, :, :, :end], values[n][:, :, :, :end]),
                seen_said(n),
                self.config.compute_dtype,
            )
            joined = attended.transpose(0, 2, 1, 3, 4).reshape(batch, self.config.heads, beams * count, width)
            x = layer.finish(x, joined, drops)
        hidden = self.norm(x).reshape(batch, beams, count, -1)
        return hidden, Cache(tuple(keys), tuple(values))

    def _embed(self, tokens: jax.Array) -> jax.Array:
        embedded = self.embedding(tokens, encoder=True)
        return embedded if self.embedding_adapter is None else embedded + self.embedding_adapter.of_tokens(tokens)

    def _drops(self, key: jax.Array | None) -> Drops:
        def drop(rate: float, name: str) -> Dropout:
            return Dropout(rate, None if key is None else stream(key, name))

        return Drops(drop(self.config.dropout, "hidden"), drop(self.lora.dropout, "adapter"))

    def _seen(self, mask: Array, distance: Array) -> Callable[[int], jax.Array]:
        """The mask of a layer by its number, given how far before the query each key stands."""
        config = self.config
        near = mask & (distance < config.window) if config.window else mask
        return lambda n: near if not config.windowed or n in config.windowed else mask
