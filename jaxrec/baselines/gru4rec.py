"""GRU4Rec (Hidasi et al. 2016): a recurrent network over the history, here with cross-entropy over all items."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.next_item_model import NextItem, SequenceConfig, embedding_table, linear, segment_starts
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.config.limits import Width
from jaxrec.models.dropout import Dropout
from jaxrec.models.products import dense
from jaxrec.types import Array


@dataclasses.dataclass(frozen=True)
class Gru4RecConfig(SequenceConfig):
    """The paper's network; a softmax over all items replaces its ranking losses over a batch's items (Hidasi 2018)."""

    hidden: Width = 128
    """Width of the recurrent state; a linear layer maps it to `dim`."""


class Gru4Rec(NextItem):
    """A gated recurrent unit over item embeddings, which are also the output weights.

    Args:
      config: shape and training.
      n_items: I.
    """

    def __init__(self, config: Gru4RecConfig, n_items: int, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.item_embedding = embedding_table(n_items, config.dim, rngs=rngs)
        self.gru = Gru(config.dim, config.hidden, config.compute_dtype, rngs=rngs)
        self.output = linear(config.hidden, config.dim, config.compute_dtype, rngs=rngs)

    @property
    def items(self) -> jax.Array:
        """The items' embeddings, f32[I, D]."""
        return self.item_embedding[...]

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`; the state is reset at the start of each sequence."""
        drop = Dropout(self.config.dropout, key)
        # Embeddings of deviation 0.02 are too small for the gates, so they are scaled as in SASRec.
        x = drop(self.items[jnp.maximum(tokens - 1, 0)] * self.config.dim**0.5)
        return self.output(drop(self.gru(x, segment_starts(segments))), drop)


class Gru(nnx.Module):
    """A gated recurrent unit (Cho et al. 2014), its reset gate applied after the recurrent product as in cuDNN.

    Args:
      rows, columns: widths of input and state.
      dtype: of the products' operands.
    """

    def __init__(self, rows: int, columns: int, dtype: str, *, rngs: nnx.Rngs) -> None:
        self.inward = linear(rows, 3 * columns, dtype, rngs=rngs)
        self.recurrent = nnx.Param(jax.random.normal(rngs.params(), (columns, 3 * columns)) * columns**-0.5)
        self.recurrent_bias = nnx.Param(jnp.zeros(3 * columns))
        self.columns, self.dtype = columns, dtype

    def __call__(self, x: jax.Array, fresh: jax.Array) -> jax.Array:
        """States after each input: x f32[B, S, rows], fresh bool[B, S], True = reset to zeros -> f32[B, S, columns].

        r, z = s(W x + U h), n = tanh(W x + r (U h + b)), h' = (1 - z) n + z h, with biases in every product.
        """
        gates = self.inward(x, Dropout(0, None)).transpose(1, 0, 2)
        kernel, bias = self.recurrent[...], self.recurrent_bias[...][None]

        def step(h: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            from_input, reset_state = inputs
            h = jnp.where(reset_state[:, None], 0.0, h)
            of_input = jnp.split(from_input, 3, axis=1)
            of_state = jnp.split(dense(h, kernel, self.dtype) + bias, 3, axis=1)
            reset, update = (jax.nn.sigmoid(of_input[i] + of_state[i]) for i in (0, 1))
            new = jnp.tanh(of_input[2] + reset * of_state[2])
            h = (1 - update) * new + update * h
            return h, h

        _, states = jax.lax.scan(step, jnp.zeros((x.shape[0], self.columns)), (gates, fresh.T))
        return states.transpose(1, 0, 2)


BASELINE = next_item_baseline("GRU4Rec", Gru4Rec, Gru4RecConfig())
