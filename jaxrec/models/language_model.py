"""The interface of language models: what training, decoding and retrieval ask of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.config import LoraConfig
from jaxrec.models.collaborative_tokens import CollaborativeTokens
from jaxrec.models.decoding import Cache, Memory
from jaxrec.models.item_head import ItemHead
from jaxrec.models.oov import ExtendedEmbedding
from jaxrec.types import Array


class LanguageModel(nnx.Module):
    """A model that reads a prompt and predicts the tokens of an answer one after the other; token 0 is padding.

    It holds no random streams: a `key` gives dropout, key=None means evaluation.

    Attributes:
      config: a frozen dataclass of the model's sizes: `vocab`, `d_model`, `compute_dtype` and its own.
      start: the token that precedes an answer.
      embedding: the table of text and new tokens.
      lora: how a frozen base model is adapted; of rank 0, it is not.
      items: a row per item and a head over them, for answer "both"; else None.
      collaborative: what embeds the collaborative tokens of prompts; None: prompts have none.
    """

    config: Any
    start: int
    embedding: ExtendedEmbedding
    lora: LoraConfig = LoraConfig()
    items: ItemHead | None = None
    collaborative: CollaborativeTokens | None = None

    def __call__(
        self,
        source: jax.Array,
        source_segments: jax.Array,
        inputs: jax.Array,
        target_segments: jax.Array,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states that predict the target's tokens, for whole answers at once.

        Args:
          source: prompts, i32[B,S], padded with 0.
          source_segments: i32[B,S], the examples of a packed row as 1, 2, ..., 0 = padding.
          inputs: answers shifted right, i32[B,T]: `start` first.
          target_segments: i32[B,T]; an answer sees the prompt of its own number.
          key: for dropout, or None.
        Returns:
          f32[B,T,D]; values at padding are arbitrary.
        """
        raise NotImplementedError

    def embed(self, tokens: jax.Array) -> jax.Array:
        """What the model's input is for each token of a prompt, i32[B,S] -> f32[B,S,D]."""
        collaborative = self.collaborative
        if collaborative is None:
            return self.embed_words(tokens)
        has_vector = collaborative.stands_at(tokens)
        words = self.embed_words(jnp.where(has_vector, 0, tokens))
        return jnp.where(has_vector[..., None], collaborative(tokens), words)

    def embed_words(self, tokens: jax.Array) -> jax.Array:
        """`embed` of tokens of the vocabulary alone, which answers consist of."""
        return self.embedding(tokens, encoder=True)

    def shown(self, source: jax.Array, segments: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Prompts in which collaborative tokens without a vector are padding, to which nothing attends.

        Other tokens of a T5 keep their distances; positions of a decoder-only model go on as if it was not there.

        Args:
          source: i32[B,S], padded with 0.
          segments: i32[B,S], the examples of a packed row as 1, 2, ..., 0 = padding; None: one example, source != 0.
        Returns:
          Both, i32[B,S].
        """
        if self.collaborative is None:
            return source, (source != 0).astype(jnp.int32) if segments is None else segments
        shown = self.collaborative.shown(source)
        return shown, (shown != 0).astype(jnp.int32) if segments is None else jnp.where(shown == source, segments, 0)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Scores of the vocabulary, f32[...,D] -> f32[...,V]."""
        raise NotImplementedError

    def with_items(self, items: ItemHead) -> LanguageModel:
        """A copy with another item head."""
        copy = nnx.clone(self)
        copy.items = nnx.data(items)
        return copy

    def with_collaborative(self, tokens: CollaborativeTokens | None) -> LanguageModel:
        """A copy with other collaborative tokens, or none."""
        copy = nnx.clone(self)
        copy.collaborative = nnx.data(tokens)
        return copy

    def item_log_probs(self, hidden: jax.Array) -> jax.Array:
        """Log p(item) by the item head at hidden states before the first code of an id, f32[...,D] -> f32[...,I].

        Raises:
          ValueError: the model has no item head.
        """
        if self.items is None:
            raise ValueError("the model has no item head; train it with answer both")
        return self.items.log_probs(hidden)

    @property
    def says_rows(self) -> bool:
        """Whether items' rows take part in the odds of last codes, see `ItemHeadConfig.row_output`."""
        return self.items is not None and self.items.config.row_output

    def item_outputs(self) -> jax.Array:
        """What the logit of each item's last code is a product with, of that code's token and the item's row, f32[I,D].

        An item's row is added to the token where an id ends, in the output as in the input.
        """
        assert self.items is not None
        tokens = self.logits(jnp.eye(self.config.d_model))  # a linear map by what it makes of a basis
        return tokens.T[self.items.last_codes()] + self.items.output()

    def code_log_probs(self, hidden: jax.Array, items: Array, exists: Array) -> jax.Array:
        """Log-probabilities of the last codes of some ids, which differ in this code alone and are all that there are.

        Args:
          hidden: states that predict the last code, f32[...,D].
          items: whose codes they are, i32[...,C].
          exists: which of them there are, bool[...,C].
        Returns:
          f32[...,C]; axes of length 1 are broadcast.
        """
        outputs = self.item_outputs()[items]
        logits = jnp.einsum("...d,...cd->...c", hidden, outputs, preferred_element_type=jnp.float32)
        return jax.nn.log_softmax(jnp.where(exists, logits, -jnp.inf))

    def read(self, source: jax.Array) -> Memory:
        """What `step` needs of prompts i32[B,S], padded with 0: one per row, shared by all beams."""
        raise NotImplementedError

    def empty_cache(self, batch: int, beams: int, length: int) -> Cache:
        """A cache for `length` tokens of each beam."""
        raise NotImplementedError

    def step(self, tokens: jax.Array, position: int | Array, cache: Cache, memory: Memory) -> tuple[jax.Array, Cache]:
        """The next tokens of every beam, each seeing the prompt, itself and all before it.

        Args:
          tokens: i32[B,W,Q], at positions position, ..., position + Q - 1 of the answer; `start` is at position 0.
          position: how many tokens the cache holds, an int or, inside a loop on the device, i32[].
          cache: of the tokens before.
          memory: from `read`.
        Returns:
          Hidden states f32[B,W,Q,D], and the cache with the new tokens.
        """
        raise NotImplementedError

    def attention_to_prompt(self, source: jax.Array, inputs: jax.Array) -> jax.Array | None:
        """How much each position of an answer attends to each position of its prompt, by layer and head.

        Args:
          source: prompts without padding, i32[B,S].
          inputs: answers shifted right, i32[B,T].
        Returns:
          Attention weights f32[Y,B,H,T,S] of Y layers; None for a model that has no attention.
        """
        del source, inputs
        return None
