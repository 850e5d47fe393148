"""Several models of the same shape as one: trained side by side, they answer by their mean log-probabilities."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxrec.models.decoding import Cache, Memory
from jaxrec.models.item_head import ItemHead
from jaxrec.models.language_model import LanguageModel
from jaxrec.platform import on_cpu
from jaxrec.types import Array, Batch


class Members(LanguageModel):
    """An ensemble as a language model: the score of a token or an item is the members' mean log-probability of it.

    Parameters of the members are stacked on a leading axis E; other variables, equal in all, are shared. Hidden states,
    caches and memories have an axis for the members behind those of a single model's, so that what decodes with one
    model decodes with members.

    Attributes:
      member: a model whose parameters are the stacked ones.
      count: E.

    Args:
      models: at least one; they differ in their parameters alone.
    """

    def __init__(self, models: Sequence[LanguageModel]) -> None:
        graph, _, shared = nnx.split(models[0], nnx.Param, ...)
        params = [nnx.state(model, nnx.Param) for model in models]
        stacked = jax.tree.map(lambda *values: jnp.stack(values), *params)
        self.member = nnx.merge(graph, stacked, shared)
        self.count = len(models)
        first = models[0]
        self.config, self.start, self.lora = first.config, first.start, first.lora

    @property
    def embedding(self) -> Any:
        """The stacked tables."""
        return self.member.embedding

    @property
    def items(self) -> ItemHead | None:
        """The stacked item heads."""
        return self.member.items

    def with_items(self, items: ItemHead) -> Members:
        """See `LanguageModel.with_items`; `items` is stacked."""
        copy = nnx.clone(self)
        copy.member = self.member.with_items(items)
        return copy

    def each(self, run: Callable[..., Any], *inputs: Any) -> Any:
        """run(member, *inputs) of all members, with results stacked on a leading axis.

        Args:
          run: of one member; pure.
          inputs: trees with a leading axis E.
        """
        graph, params, shared = nnx.split(self.member, nnx.Param, ...)

        def one(arguments: tuple[Any, tuple[Any, ...]]) -> Any:
            params, inputs = arguments
            return run(nnx.merge(graph, params, shared), *inputs)

        if not on_cpu():
            return jax.vmap(one)((params, inputs))
        # On CPU a product with one more axis is slower than one after the other, and so is a loop over them.
        results = [one(jax.tree.map(operator.itemgetter(n), (params, inputs))) for n in range(self.count)]
        return jax.tree.map(lambda *values: jnp.stack(values), *results)

    def __call__(
        self,
        source: jax.Array,
        source_segments: jax.Array,
        inputs: jax.Array,
        target_segments: jax.Array,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """As `LanguageModel`, f32[B,T,E,D]; dropout differs between the members."""
        if key is None:
            hidden = self.each(lambda member: member(source, source_segments, inputs, target_segments))
        else:
            hidden = self.each(
                lambda member, key: member(source, source_segments, inputs, target_segments, key=key),
                jax.random.split(key, self.count),
            )
        return jnp.moveaxis(hidden, 0, -2)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """The first member's embeddings, f32[B,S,D]; those of other members lie in spaces of their own."""
        return self.each(lambda member: member.embed(tokens))[0]

    def logits(self, hidden: jax.Array) -> jax.Array:
        """The members' mean log-probability of each token, f32[...,E,D] -> f32[...,V]."""
        by_member = jnp.moveaxis(hidden, -2, 0)
        return self.each(lambda member, hidden: jax.nn.log_softmax(member.logits(hidden)), by_member).mean(axis=0)

    def item_log_probs(self, hidden: jax.Array) -> jax.Array:
        """The members' mean log p(item), f32[...,E,D] -> f32[...,I]."""
        return self.each(lambda member, hidden: member.item_log_probs(hidden), jnp.moveaxis(hidden, -2, 0)).mean(axis=0)

    def code_log_probs(self, hidden: jax.Array, items: Array, exists: Array) -> jax.Array:
        """The members' mean, normalised as that of other codes is; hidden states are f32[...,E,D]."""
        of_each = self.each(
            lambda member, hidden: member.code_log_probs(hidden, items, exists), jnp.moveaxis(hidden, -2, 0)
        )
        return jax.nn.log_softmax(of_each.mean(axis=0))

    def read(self, source: jax.Array) -> Memory:
        """See `LanguageModel.read`; arrays have a last axis E."""
        return _last(self.each(lambda member: member.read(source)))

    def empty_cache(self, batch: int, beams: int, length: int) -> Cache:
        """See `LanguageModel.empty_cache`; arrays have a last axis E."""
        cache = self.member.empty_cache(batch, beams, length)
        return jax.tree.map(lambda x: jnp.repeat(x[..., None], self.count, axis=-1), cache)

    def step(self, tokens: jax.Array, position: int | Array, cache: Cache, memory: Memory) -> tuple[jax.Array, Cache]:
        """See `LanguageModel.step`; hidden states are f32[B,W,Q,E,D]."""
        hidden, cache = self.each(
            lambda member, cache, memory: member.step(tokens, position, cache, memory), _first(cache), _first(memory)
        )
        return jnp.moveaxis(hidden, 0, -2), _last(cache)


def of_members(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss of an ensemble: its value is the members' mean loss, and each member gets the gradient of its own.

    Args:
      loss: loss(model, batch, key) -> (scalar, metrics) of one model.
    Returns:
      The same of `Members` and a batch with an axis for them behind that of the rows; the metrics are means over the
      members.
    """

    def total(members: Members, batch: Batch, key: jax.Array | None = None):
        keys = (jax.random.split(key, members.count),) if key is not None else ()
        of_each = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), batch)
        losses, metrics = members.each(lambda member, batch, *key: loss(member, batch, *key), of_each, *keys)
        # The mean by value and the sum by gradient: a member's steps don't depend on the number of members.
        mean = losses.sum() - jax.lax.stop_gradient(losses.sum() - losses.mean())
        return mean, {name: value.mean() for name, value in metrics.items()}

    return total


def each_member(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimizer that treats every member of a leading axis on its own: clipping, for instance, by its own norm."""
    return optax.GradientTransformation(jax.vmap(optimizer.init), jax.vmap(optimizer.update))


def _last(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), tree)


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), tree)
