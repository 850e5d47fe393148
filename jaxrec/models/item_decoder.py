"""A decoder-only model that reads a history item by item, one position each, and says ids token by token."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import FilterConfig, LlamaConfig, LoraConfig, OovConfig
from jaxrec.keys import stream
from jaxrec.models.decoding import same_segment
from jaxrec.models.dropout import Dropout
from jaxrec.models.frequency_filter import FilteredLayer
from jaxrec.models.item_head import ItemHead
from jaxrec.models.language_model import LanguageModel
from jaxrec.models.llama import Drops, FeedForward, Layer, check_sizes
from jaxrec.models.norms import RMSNorm
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.models.remat import apply_layer
from jaxrec.models.rope import rotations
from jaxrec.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Context:
    """What a prompt says about the next item.

    Attributes:
      hidden: the trunk's state at the last item, f32[B,D]; zeros for a prompt without items.
    """

    hidden: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spoken:
    """The codes of each beam so far.

    Attributes:
      codes: the sum of their embeddings, f32[B,W,D].
    """

    codes: jax.Array


class ItemDecoder(LanguageModel):
    """Layers of the LLaMA family over items, and one feed-forward layer that says the codes of the next id.

    An item's tokens <Item> c_1 .. c_L are one position of the trunk: the sum of its codes' embeddings and, with
    `ItemHeadConfig.row_input`, its own row. So a history of n items takes n positions instead of n (L + 1). Code j + 1
    of the next id is predicted from the trunk's state h at the item before it and the codes said so far:
    x = h + sum of their embeddings, and x + feed-forward(x) is the hidden state; the first code and the item itself are
    predicted from h alone (cf. the depth transformer of Lee et al. 2022, here of one layer without attention). Text and
    user tokens of a prompt are not read.

    Args:
      config: the sizes; the head is the embedding table, and there is no sliding window.
      oov: where the anchors of new tokens are added to embeddings; "encoder" means the input.
      filter: of the layers; weight 0: none.
      anchors: f32[M,F], anchors of the tokens first_oov, first_oov + 1, ..., or None.
      first_oov: number of the first new token.
      start: the prefix of items' ids, which precedes an answer.
      rngs: its "params" stream initialises.
    Raises:
      ValueError: see `check_sizes`.
    """

    config: LlamaConfig

    def __init__(
        self,
        config: LlamaConfig,
        oov: OovConfig,
        filter: FilterConfig,
        anchors: np.ndarray | jax.Array | None,
        first_oov: int,
        start: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        check_sizes(config)
        lora = LoraConfig()
        self.config = config
        self.start = start
        self.embedding = ExtendedEmbedding(
            config.vocab,
            config.d_model,
            oov,
            anchors,
            first_oov,
            config.compute_dtype,
            scale=config.d_model**-0.5,
            rngs=rngs,
        )
        self.layers = nnx.List(
            FilteredLayer(config, filter, rngs=rngs) if filter.weight else Layer(config, lora, rngs=rngs)
            for _ in range(config.layers)
        )
        self.speech_norm = RMSNorm(config.d_model, config.epsilon)
        self.speech = FeedForward(config, lora, rngs=rngs)
        self.norm = RMSNorm(config.d_model, config.epsilon)

    def __call__(
        self,
        source: jax.Array,
        source_segments: jax.Array,
        inputs: jax.Array,
        target_segments: jax.Array,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """See `LanguageModel`; the answers may hold several ids, as in task "autoregressive"."""
        drop = self._drop(key)
        tokens = jnp.concatenate([source, inputs], axis=1)
        segments = jnp.concatenate([source_segments, target_segments], axis=1)
        hidden_BND, places_BN, segments_BN = self._trunk(tokens, segments, drop)
        # The item that each position of the answer follows is the last one that ended before it in its segment.
        positions = source.shape[1] + np.arange(inputs.shape[1])
        precedes = same_segment(target_segments, segments_BN) & (places_BN[:, None] < positions[None, :, None])
        last = jnp.max(jnp.where(precedes, np.arange(places_BN.shape[1])[None, None], -1), axis=2)
        context = jnp.take_along_axis(hidden_BND, jnp.maximum(last, 0)[..., None], axis=1)
        codes = self._codes(inputs)
        return self._speak(context, _sums_since(codes, inputs == self.start, self._head.n_codes), drop)

    @property
    def _head(self) -> ItemHead:
        if self.items is None:
            raise ValueError("an item decoder has an item head; set answer both")
        return self.items

    def _drop(self, key: jax.Array | None) -> Dropout:
        return Dropout(self.config.dropout, None if key is None else stream(key, "hidden"))

    def _codes(self, tokens: Array) -> jax.Array:
        """Embeddings of the codes among tokens, zeros for prefixes, text and padding; i32[...] -> f32[...,D]."""
        is_code = (tokens >= self.embedding.first_oov) & (tokens != self.start)
        flat = jnp.where(is_code, tokens, self.embedding.first_oov).reshape(tokens.shape[0], -1)
        embedded = self.embedding(flat, encoder=True).reshape(*tokens.shape, -1)
        return jnp.where(is_code[..., None], embedded, 0)

    def _trunk(self, tokens: jax.Array, segments: jax.Array, drop: Dropout) -> tuple[jax.Array, jax.Array, jax.Array]:
        """States at all items of sequences of tokens i32[B,P], whose examples `segments` i32[B,P] number.

        Returns:
          f32[B,N,D] of the at most N = P / (L + 1) items in their order; the positions at which their ids end,
          i32[B,N]; and their segments, i32[B,N], 0 where a row has fewer than N items.
        """
        head = self._head
        places, codes, is_item = head.item_places(tokens)
        segments = jnp.where(is_item, jnp.take_along_axis(segments, places, axis=1), 0)
        x = self._codes(codes).sum(axis=2) + head.added_to(codes)
        x = drop(jnp.where(segments[..., None] > 0, x, 0))
        mask = same_segment(segments, segments) & np.tri(places.shape[1], dtype=bool)[None]
        rotation = rotations(mask.sum(-1) - 1, self.config.rope, self.config.d_kv)
        drops = Drops(drop, Dropout(0, None))
        for layer in self.layers:
            x = apply_layer(self.config.remat, layer, x, rotation, mask, drops)
        return x, places, segments

    def _speak(self, context: jax.Array, codes: jax.Array, drop: Dropout) -> jax.Array:
        """Hidden states after the codes of an id so far, whose embeddings sum up to `codes`; f32[...,D] each."""
        says = jnp.any(codes != 0, axis=-1, keepdims=True)
        x = context + codes
        said = x + drop(self.speech(self.speech_norm(x), Dropout(0, None)))
        return self.norm(jnp.where(says, said, context))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Scores of the vocabulary, f32[...,D] -> f32[...,V]; the embedding table is the head."""
        return self.embedding.scores(hidden)

    def read(self, source: jax.Array) -> Context:
        """The state at the last item of prompts i32[B,S], padded with 0 on the right."""
        segments = (source != 0).astype(jnp.int32)
        hidden, _, segments = self._trunk(source, segments, self._drop(None))
        count = segments.sum(axis=1)
        last = jnp.take_along_axis(hidden, jnp.maximum(count - 1, 0)[:, None, None], axis=1)[:, 0]
        return Context(jnp.where((count > 0)[:, None], last, 0))

    def empty_cache(self, batch: int, beams: int, length: int) -> Spoken:
        """No codes yet; f32[B,W,D] whatever the length."""
        return Spoken(jnp.zeros((batch, beams, self.config.d_model)))

    def step(
        self, tokens: jax.Array, position: int | Array, cache: Spoken, memory: Context
    ) -> tuple[jax.Array, Spoken]:
        """Hidden states f32[B,W,Q,D] after each of some tokens i32[B,W,Q], see `LanguageModel.step`."""
        codes = cache.codes[:, :, None] + jnp.cumsum(self._codes(tokens), axis=2)
        hidden = self._speak(memory.hidden[:, None, None], codes, self._drop(None))
        return hidden, Spoken(codes[:, :, -1])


def _sums_since(values: jax.Array, is_start: jax.Array, most: int) -> jax.Array:
    """The sum of the values since the last start, of at most `most`, at each position.

    Args:
      values: f32[B,T,D].
      is_start: bool[B,T].
      most: number of values.
    Returns:
      f32[B,T,D].
    """
    sums, is_open = values, ~is_start
    for back in range(1, most):
        sums += jnp.where(is_open[..., None], jnp.pad(values[:, :-back], ((0, 0), (back, 0), (0, 0))), 0)
        is_open &= ~jnp.pad(is_start[:, :-back], ((0, 0), (back, 0)))
    return sums
