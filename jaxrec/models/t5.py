"""T5 v1.0 and v1.1 with an extended embedding table: training on packed rows, and step-by-step decoding of beams.

Suffixes of names are axes, see `jaxrec.types`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.keys import stream
from jaxrec.models.attention import Attention, RelativeBias, Segments, attend
from jaxrec.models.attention import segments as which_segments
from jaxrec.models.decoding import Cache, Memory, cache_end, causal, empty_cache, update_cache
from jaxrec.models.dropout import Dropout
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.norms import RMSNorm
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.models.products import activations, dense, projected
from jaxrec.models.remat import apply_layers
from jaxrec.types import Array


class FeedForward(nnx.Module):
    """v1.0: relu(x expand) contract.  v1.1: (gelu(x gate) * (x expand)) contract."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        def kernel(rows: int, columns: int) -> nnx.Param:
            return nnx.Param(jax.random.normal(rngs.params(), (rows, columns)) * rows**-0.5)

        self.expand = kernel(config.d_model, config.d_ff)
        self.contract = kernel(config.d_ff, config.d_model)
        if config.activation == "gated-gelu":
            self.gate = kernel(config.d_model, config.d_ff)
        self.config = config

    def __call__(self, x_BSD: jax.Array, drop: Dropout) -> jax.Array:
        """[B,S,D] -> [B,S,D]."""
        dtype = self.config.compute_dtype
        hidden_BSZ = projected(x_BSD, self.expand[...], dtype)
        if self.config.activation == "gated-gelu":
            hidden_BSZ = hidden_BSZ * jax.nn.gelu(projected(x_BSD, self.gate[...], dtype), approximate=True)
        else:
            hidden_BSZ = jax.nn.relu(hidden_BSZ)
        return projected(drop(hidden_BSZ), self.contract[...], dtype)


class Layer(nnx.Module):
    """Self-attention, in the decoder cross-attention, and feed-forward; each normed before and added to its input."""

    def __init__(self, config: T5Config, *, cross: bool, rngs: nnx.Rngs) -> None:
        def attention() -> Attention:
            return Attention(config.d_model, config.heads, config.d_kv, config.compute_dtype, rngs=rngs)

        def norm() -> RMSNorm:
            return RMSNorm(config.d_model, config.epsilon)

        self.attention_norm, self.attention = norm(), attention()
        if cross:
            self.cross_norm, self.cross = norm(), attention()
        self.feed_forward_norm, self.feed_forward = norm(), FeedForward(config, rngs=rngs)
        self.dtype = config.compute_dtype

    def encode(self, x_BSD: jax.Array, bias_HSS: jax.Array, seen: Segments, drop: Dropout) -> jax.Array:
        """A whole layer of the encoder, [B,S,D]."""
        return self.feed(self.attend_self(x_BSD, bias_HSS, seen, drop), drop)

    def decode(
        self,
        x_BTD: jax.Array,
        encoded_BSD: jax.Array,
        bias_HTT: jax.Array,
        seen: Segments,
        seen_source: Segments,
        drop: Dropout,
        cross_weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """A whole layer of the decoder over whole targets, [B,T,D]; `cross_weights` as in `T5.decode`."""
        x_BTD = self.attend_self(x_BTD, bias_HTT, seen, drop)
        read_BTD = self.cross(self.cross_norm(x_BTD), encoded_BSD, None, seen_source, drop, cross_weights)
        return self.feed(x_BTD + drop(read_BTD), drop)

    def attend_self(self, x_BSD: jax.Array, bias_HSS: jax.Array, seen: Segments, drop: Dropout) -> jax.Array:
        """The input plus its self-attention, [B,S,D]."""
        normed_BSD = self.attention_norm(x_BSD)
        return x_BSD + drop(self.attention(normed_BSD, normed_BSD, bias_HSS, seen, drop))

    def attend_cross(
        self, x_BTD: jax.Array, k_BHSK: jax.Array, v_BHSK: jax.Array, mask_BTS: jax.Array, drop: Dropout
    ) -> jax.Array:
        """The input plus its attention to the encoder's output, [B,T,D]; mask bool[B, T or 1, S]."""
        q_BHTK = self.cross.queries(self.cross_norm(x_BTD))
        return x_BTD + drop(self.cross.merge(attend(q_BHTK, k_BHSK, v_BHSK, None, mask_BTS, drop, self.dtype)))

    def feed(self, x_BSD: jax.Array, drop: Dropout) -> jax.Array:
        """The input plus its feed-forward part, [B,S,D]."""
        return x_BSD + drop(self.feed_forward(self.feed_forward_norm(x_BSD), drop))


class Stack(nnx.Module):
    """The layers of an encoder or a decoder, the relative bias that they share, and the final norm."""

    def __init__(self, config: T5Config, layers: int, *, decoder: bool, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([Layer(config, cross=decoder, rngs=rngs) for _ in range(layers)])
        self.bias = RelativeBias(
            config.buckets,
            config.max_distance,
            config.heads,
            bidirectional=not decoder,
            scale=config.d_model**-0.5,
            rngs=rngs,
        )
        self.norm = RMSNorm(config.d_model, config.epsilon)


class T5(LanguageModel):
    """Encoder-decoder of Raffel et al. 2020; token 0 is padding and the decoder's start, token 1 the end of text.

    Args:
      config: the sizes.
      oov: where the anchors of new tokens are added to embeddings.
      anchors: f32[M,F], anchors of the tokens first_oov, first_oov + 1, ..., or None.
      first_oov: number of the first new token.
      rngs: its "params" stream initialises.
    """

    config: T5Config

    def __init__(
        self,
        config: T5Config,
        oov: OovConfig,
        anchors: np.ndarray | jax.Array | None,
        first_oov: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.config = config
        self.start = 0
        dtype = config.compute_dtype
        self.embedding = ExtendedEmbedding(config.vocab, config.d_model, oov, anchors, first_oov, dtype, rngs=rngs)
        self.encoder = Stack(config, config.encoder_layers, decoder=False, rngs=rngs)
        self.decoder = Stack(config, config.decoder_layers, decoder=True, rngs=rngs)
        if not config.tied:
            self.head = nnx.Param(jax.random.normal(rngs.params(), (config.d_model, config.vocab)))

    def __call__(
        self,
        source: jax.Array,
        source_segments: jax.Array,
        inputs: jax.Array,
        target_segments: jax.Array,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states that predict the target's tokens, f32[B,T,D]; see `encode` and `decode`."""
        source, source_segments = self.shown(source, source_segments)
        encoded = self.encode(source, source_segments, key=key)
        return self.decode(inputs, encoded, source_segments, target_segments, key=key)

    def encode(
        self, source: jax.Array, segments: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """The encoder's output.

        Args:
          source: i32[B,S], padded with 0.
          segments: i32[B,S], the examples of a packed row as 1, 2, ..., 0 = padding; None: one example, source != 0.
          key: for dropout, or None.
        Returns:
          [B,S,D], in the dtype of `activations`; values at padding are arbitrary.
        """
        drop = Dropout(self.config.dropout, None if key is None else stream(key, "encoder"))
        source, segments_BS = self.shown(source) if segments is None else (source, segments)
        seen = which_segments(segments_BS, segments_BS)
        bias_HSS = self.encoder.bias(source.shape[1], source.shape[1])
        x_BSD = drop(self.embed(source).astype(activations(self.config.compute_dtype)))
        x_BSD = apply_layers(
            self.encoder.layers,
            lambda layer, x_BSD, drop: layer.encode(x_BSD, bias_HSS, seen, drop),
            x_BSD,
            drop,
            remat=self.config.remat,
        )
        return drop(self.encoder.norm(x_BSD))

    def decode(
        self,
        inputs: jax.Array,
        encoded_BSD: jax.Array,
        source_segments: jax.Array,
        target_segments: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
        cross_weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """The decoder over whole targets at once, each position seeing itself and what is before it.

        Args:
          inputs: i32[B,T], targets shifted right: 0 first.
          encoded_BSD: from `encode`.
          source_segments: i32[B,S], 0 = padding.
          target_segments: i32[B,T], a target sees the source of its own number; None: the source of number 1.
          key: for dropout, or None.
          cross_weights: a list to which each layer's cross-attention weights f32[B,H,T,S] are appended, or None.
        Returns:
          Hidden states after the last norm, f32[B,T,D]; values at padding are arbitrary.
        """
        drop = Dropout(self.config.dropout, None if key is None else stream(key, "decoder"))
        length = inputs.shape[1]
        segments_BT = jnp.ones_like(inputs) if target_segments is None else target_segments
        seen = which_segments(segments_BT, segments_BT, causal=True)
        seen_source = which_segments(segments_BT, source_segments)
        bias_HTT = self.decoder.bias(length, length)
        x_BTD = drop(self._embed_answer(inputs))
        if cross_weights is not None:  # what a scanned or checkpointed layer computes can't be handed out of it
            for layer in self.decoder.layers:
                x_BTD = layer.decode(x_BTD, encoded_BSD, bias_HTT, seen, seen_source, drop, cross_weights)
        else:
            x_BTD = apply_layers(
                self.decoder.layers,
                lambda layer, x_BTD, drop: layer.decode(x_BTD, encoded_BSD, bias_HTT, seen, seen_source, drop),
                x_BTD,
                drop,
                remat=self.config.remat,
            )
        return drop(self.decoder.norm(x_BTD)).astype(jnp.float32)

    def _embed_answer(self, tokens: jax.Array) -> jax.Array:
        return self.embedding(tokens, encoder=False).astype(activations(self.config.compute_dtype))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Scores of the vocabulary, f32[...,D] -> f32[...,V]; rows that pad the table are scored like any other."""
        if self.config.tied:
            return self.embedding.scores(hidden * self.config.d_model**-0.5)
        return dense(hidden, self.head[...], self.config.compute_dtype)

    def read(self, source: jax.Array) -> Memory:
        """Cross-attention's keys and values of prompts i32[B,S], padded with 0."""
        source, segments_BS = self.shown(source)
        encoded_BSD = self.encode(source, segments_BS)
        pairs = [layer.cross.keys_values(encoded_BSD) for layer in self.decoder.layers]
        return Memory(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), source != 0)

    def empty_cache(self, batch: int, beams: int, length: int) -> Cache:
        """A cache for `length` tokens of each beam."""
        return empty_cache(batch, beams, self.config.heads, length, self.config.d_kv, self.config.decoder_layers)

    def step(self, tokens: jax.Array, position: int | Array, cache: Cache, memory: Memory) -> tuple[jax.Array, Cache]:
        """The next tokens of every beam, each seeing itself and all before it.

        Args:
          tokens: i32[B,W,Q], decoder inputs at positions position, ..., position + Q - 1.
          position: how many tokens the cache holds; of a Python int nothing beyond is read, of i32[] the whole cache.
          cache: of the tokens before; its length is at least position + Q.
          memory: shared by the W beams: W and Q are one axis of queries to it, no key is repeated.
        Returns:
          Hidden states after the last norm, f32[B,W,Q,D], and the cache with the new tokens.
        Raises:
          ValueError: the cache is too short.
        """
        batch, beams, count = tokens.shape
        end, (heads, _, width) = cache_end(cache, position, count), cache.keys[0].shape[2:]
        drop = Dropout(0, None)
        bias_HQT = self.decoder.bias(count, end, position)
        mask_BQT = jnp.asarray(causal(position, count, end)[None])
        cross_mask_BQS = memory.mask[:, None]
        # R = W * Q queries of a row to cross-attention, A = B * W rows to self-attention.
        x_BRD = self._embed_answer(tokens.reshape(batch, beams * count))
        keys, values = list(cache.keys), list(cache.values)
        for n, layer in enumerate(self.decoder.layers):
            normed_AQD = layer.attention_norm(x_BRD).reshape(batch * beams, count, -1)
            new_keys, new_values = (
                a.reshape(batch, beams, heads, count, width) for a in layer.attention.keys_values(normed_AQD)
            )
            keys[n] = update_cache(keys[n], new_keys, position)
            values[n] = update_cache(values[n], new_values, position)
            attended_AHQK = attend(
                layer.attention.queries(normed_AQD),
                keys[n][:, :, :, :end].reshape(batch * beams, heads, end, width),
                values[n][:, :, :, :end].reshape(batch * beams, heads, end, width),
                bias_HQT,
                mask_BQT,
                drop,
                self.config.compute_dtype,
            )
            x_BRD = x_BRD + layer.attention.merge(attended_AHQK).reshape(x_BRD.shape)
            x_BRD = layer.attend_cross(x_BRD, memory.keys[n], memory.values[n], cross_mask_BQS, drop)
            x_BRD = layer.feed(x_BRD, drop)
        hidden_BWQD = self.decoder.norm(x_BRD).astype(jnp.float32).reshape(batch, beams, count, -1)
        return hidden_BWQD, Cache(tuple(keys), tuple(values))

    def attention_to_prompt(self, source: jax.Array, inputs: jax.Array) -> jax.Array:
        """The decoder's cross-attention weights, f32[Y,B,H,T,S]; see `LanguageModel.attention_to_prompt`."""
        weights: list[jax.Array] = []
        source, segments_BS = self.shown(source)
        self.decode(inputs, self.encode(source, segments_BS), segments_BS, cross_weights=weights)
        return jnp.stack(weights)
