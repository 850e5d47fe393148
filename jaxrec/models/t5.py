"""T5 v1.0 and v1.1 with an extended embedding table, for training on packed rows and for cached stepping of beams."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import OovConfig, T5Config
from jaxrec.keys import stream
from jaxrec.models.attention import Attention, RelativeBias, attend
from jaxrec.models.decoding import Cache, Memory, causal, empty_cache, reach, same_segment, write
from jaxrec.models.dropout import Dropout
from jaxrec.models.norms import RMSNorm
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.models.products import dense
from jaxrec.models.remat import run
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

    def __call__(self, x: jax.Array, drop: Dropout) -> jax.Array:
        """f32[B,S,D] -> f32[B,S,D]."""
        dtype = self.config.compute_dtype
        hidden = dense(x, self.expand[...], dtype)
        if self.config.activation == "gated-gelu":
            hidden = hidden * jax.nn.gelu(dense(x, self.gate[...], dtype), approximate=True)
        else:
            hidden = jax.nn.relu(hidden)
        return dense(drop(hidden), self.contract[...], dtype)


class Layer(nnx.Module):
    """One layer: self-attention, in the decoder cross-attention, feed-forward; each normed before, added after."""

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

    def encode(self, x: jax.Array, bias: jax.Array, mask: jax.Array, drop: Dropout) -> jax.Array:
        """A whole layer of the encoder, f32[B,S,D]."""
        return self.feed(self.attend_self(x, bias, mask, drop), drop)

    def decode(
        self,
        x: jax.Array,
        encoded: jax.Array,
        bias: jax.Array,
        mask: jax.Array,
        cross_mask: jax.Array,
        drop: Dropout,
    ) -> jax.Array:
        """A whole layer of the decoder over whole targets, f32[B,T,D]; encoded f32[B,S,D]."""
        x = self.attend_self(x, bias, mask, drop)
        x = self.attend_cross(x, *self.cross.keys_values(encoded), cross_mask, drop)
        return self.feed(x, drop)

    def attend_self(self, x: jax.Array, bias: jax.Array, mask: jax.Array, drop: Dropout) -> jax.Array:
        """The input plus its attention to itself, f32[B,S,D]; bias f32[H,S,S], mask bool[B,S,S]."""
        normed = self.attention_norm(x)
        keys, values = self.attention.keys_values(normed)
        attended = attend(self.attention.queries(normed), keys, values, bias, mask, drop, self.dtype)
        return x + drop(self.attention.merge(attended))

    def attend_cross(
        self, x: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array, drop: Dropout
    ) -> jax.Array:
        """The input plus its attention to the encoder, f32[B,T,D]; keys, values f32[B,H,S,K], mask bool[B,T or 1,S]."""
        queries = self.cross.queries(self.cross_norm(x))
        return x + drop(self.cross.merge(attend(queries, keys, values, None, mask, drop, self.dtype)))

    def feed(self, x: jax.Array, drop: Dropout) -> jax.Array:
        """The input plus its feed-forward part, f32[B,S,D]."""
        return x + drop(self.feed_forward(self.feed_forward_norm(x), drop))


class Stack(nnx.Module):
    """The layers of an encoder or a decoder, their one relative bias and the norm at the end."""

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


class T5(nnx.Module):
    """Encoder-decoder of Raffel et al. 2020; token 0 is padding and the decoder's start, token 1 the end of text.

    It holds no random streams: a `key` gives dropout, key=None is evaluation.

    Attributes:
      start: what the decoder is fed before an answer.

    Args:
      config: the shape.
      oov: where new tokens' anchors are projected in.
      anchors: f32[M,F], anchors of the tokens first_oov, first_oov + 1, ..., or None.
      first_oov: number of the first new token.
      rngs: its "params" stream initialises.
    """

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
        encoded = self.encode(source, source_segments, key=key)
        return self.decode(inputs, encoded, source_segments, target_segments, key=key)

    def encode(
        self, source: jax.Array, segments: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """What the encoder makes of the source.

        Args:
          source: i32[B,S], padded with 0.
          segments: i32[B,S], the examples of a packed row as 1, 2, ..., 0 = padding; None: one example, source != 0.
          key: for dropout, or None.
        Returns:
          f32[B,S,D]; what stands on padding means nothing.
        """
        drop = Dropout(self.config.dropout, None if key is None else stream(key, "encoder"))
        mask = same_segment(*[_segments(source, segments)] * 2)
        bias = self.encoder.bias(source.shape[1], source.shape[1])
        x = drop(self.embedding(source, encoder=True))
        for layer in self.encoder.layers:
            x = run(self.config.remat, layer.encode, x, bias, mask, drop)
        return drop(self.encoder.norm(x))

    def decode(
        self,
        inputs: jax.Array,
        encoded: jax.Array,
        source_segments: jax.Array,
        target_segments: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """The decoder over whole targets at once, each position seeing itself and what is before it.

        Args:
          inputs: i32[B,T], targets shifted right: 0 first.
          encoded: f32[B,S,D] from `encode`.
          source_segments: i32[B,S], 0 = padding.
          target_segments: i32[B,T], a target sees the source of its own number; None: the source of number 1.
          key: for dropout, or None.
        Returns:
          Hidden states after the last norm, f32[B,T,D]; what stands on padding means nothing.
        """
        drop = Dropout(self.config.dropout, None if key is None else stream(key, "decoder"))
        length = inputs.shape[1]
        segments = jnp.ones_like(inputs) if target_segments is None else target_segments
        mask = same_segment(segments, segments) & causal(0, length, length)[None]
        cross_mask = same_segment(segments, source_segments)
        bias = self.decoder.bias(length, length)
        x = drop(self.embedding(inputs, encoder=False))
        for layer in self.decoder.layers:
            x = run(self.config.remat, layer.decode, x, encoded, bias, mask, cross_mask, drop)
        return drop(self.decoder.norm(x))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Scores of the vocabulary, f32[...,D] -> f32[...,V]; padded rows of the table are scored like any other."""
        if self.config.tied:
            return self.embedding.scores(hidden * self.config.d_model**-0.5)
        return dense(hidden, self.head[...], self.config.compute_dtype)

    def read(self, source: jax.Array) -> Memory:
        """What `step` looks at of prompts i32[B,S], padded with 0: keys and values of the encoded source."""
        encoded = self.encode(source)
        pairs = [layer.cross.keys_values(encoded) for layer in self.decoder.layers]
        return Memory(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), source != 0)

    def empty_cache(self, batch: int, beams: int, length: int) -> Cache:
        """Room for `length` tokens of each beam."""
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
        end, (heads, _, width) = reach(cache, position, count), cache.keys[0].shape[2:]
        drop = Dropout(0, None)
        bias = self.decoder.bias(count, end, position)
        mask = jnp.asarray(causal(position, count, end)[None])
        cross_mask = memory.mask[:, None]
        x = self.embedding(tokens.reshape(batch, beams * count), encoder=False)
        keys, values = list(cache.keys), list(cache.values)
        for n, layer in enumerate(self.decoder.layers):
            # Each beam is a row of its own to self-attention, and one of W * Q queries to cross-attention.
            normed = layer.attention_norm(x).reshape(batch * beams, count, -1)
            new_keys, new_values = (
                a.reshape(batch, beams, heads, count, width) for a in layer.attention.keys_values(normed)
            )
            keys[n], values[n] = write(keys[n], new_keys, position), write(values[n], new_values, position)
            attended = attend(
                layer.attention.queries(normed),
                keys[n][:, :, :, :end].reshape(batch * beams, heads, end, width),
                values[n][:, :, :, :end].reshape(batch * beams, heads, end, width),
                bias,
                mask,
                drop,
                self.config.compute_dtype,
            )
            x = x + layer.attention.merge(attended).reshape(x.shape)
            x = layer.attend_cross(x, memory.keys[n], memory.values[n], cross_mask, drop)
            x = layer.feed(x, drop)
        hidden = self.decoder.norm(x).reshape(batch, beams, count, -1)
        return hidden, Cache(tuple(keys), tuple(values))


def _segments(tokens: jax.Array, segments: jax.Array | None) -> jax.Array:
    return (tokens != 0).astype(jnp.int32) if segments is None else segments
