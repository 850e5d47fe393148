"""Tokens of a prompt whose embedding is a small network of a collaborative vector; CoLLM, Zhang et al. 2023."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.models.oov import Buffer
from jaxrec.models.products import dense
from jaxrec.types import Array, Vectors

ITEM, USER, STRANGER = range(3)
KINDS = 3
MULTIPLE = 128
"""Tables are padded to this many rows, so that a mesh can divide them, and a few newcomers change no shape."""


def numbers(kind: int, rows: Array) -> Array:
    """Numbers of the collaborative tokens of some entities, which stay the same however many others there are.

    Args:
      kind: `ITEM`, `USER` or `STRANGER`, a user whom the model holds no vector of until it is asked.
      rows: of their vectors, i64[...].
    Returns:
      i64[...]; a token is the size of the vocabulary plus this.
    """
    return rows * KINDS + kind


class CollaborativeTokens(nnx.Module):
    """Vectors of items and users, and the network that maps them to embeddings of tokens.

    Token `first` + numbers(kind, row) stands for a row of one of three tables, and is embedded as
    relu(scale * vector @ first_kernel + first_bias) @ second_kernel + second_bias. The vectors are not trained. A token
    whose vector is all zeros, as of somebody without events, says nothing: `shown` makes padding of it.

    Args:
      vectors: user f32[U,F], item f32[I,F].
      hidden: width of the network's hidden layer.
      first: V, the first number that is no row of the embedding table.
      table: the embedding table, f32[V,D]; embeddings start with its root mean square.
      dtype: of the products' operands.
      rngs: its "params" stream initialises the network.
    """

    def __init__(
        self, vectors: Vectors, hidden: int, first: int, table: jax.Array, dtype: str, *, rngs: nnx.Rngs
    ) -> None:
        self.first, self.dtype = first, dtype
        width, d_model = vectors.item.shape[1], table.shape[1]
        rows = np.concatenate([vectors.item, vectors.user])
        square = np.square(rows[rows.any(axis=1)]).mean() if rows.any() else 1.0
        self.scale = Buffer(jnp.float32(max(square, 1e-12) ** -0.5))
        size = jnp.sqrt(jnp.mean(jnp.square(table.astype(jnp.float32))))
        # He et al. 2015: numbers of mean square 1 give such numbers in front of the last factor.
        self.first_kernel = nnx.Param(jax.random.normal(rngs.params(), (width, hidden)) * (2 / width) ** 0.5)
        self.first_bias = nnx.Param(jnp.zeros(hidden))
        self.second_kernel = nnx.Param(jax.random.normal(rngs.params(), (hidden, d_model)) * hidden**-0.5 * size)
        self.second_bias = nnx.Param(jnp.zeros(d_model))
        self.items, self.users = Buffer(_padded(vectors.item)), Buffer(_padded(vectors.user))
        self.strangers = Buffer(jnp.zeros((1, width)))

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Embeddings of collaborative tokens, i32[B,S] -> f32[B,S,D]; of other tokens they mean nothing."""
        return self.embedded(self.vectors_of(tokens))

    def embedded(self, vectors: jax.Array) -> jax.Array:
        """The network, f32[...,F] -> f32[...,D]."""

        def layer(x: jax.Array, kernel: nnx.Param, bias: nnx.Param) -> jax.Array:
            return dense(x, kernel[...], self.dtype) + jnp.broadcast_to(bias[...], (*x.shape[:-1], bias.shape[0]))

        hidden = jax.nn.relu(layer(vectors * self.scale[...], self.first_kernel, self.first_bias))
        return layer(hidden, self.second_kernel, self.second_bias)

    def stands_at(self, tokens: jax.Array) -> jax.Array:
        """Where collaborative tokens stand, i32[B,S] -> bool[B,S]."""
        return tokens >= self.first

    def vectors_of(self, tokens: jax.Array) -> jax.Array:
        """The vectors that tokens stand for, i32[B,S] -> f32[B,S,F]; zeros for other tokens."""
        number = tokens - self.first
        row, kind = number // KINDS, number % KINDS
        vectors = jnp.zeros((*tokens.shape, self.items.shape[1]))
        for n, table in enumerate((self.items, self.users, self.strangers)):
            of_kind = (number >= 0) & (kind == n)
            vectors = jnp.where(of_kind[..., None], table[...][jnp.where(of_kind, row, 0)], vectors)
        return vectors

    def shown(self, source: jax.Array) -> jax.Array:
        """Prompts i32[B,S] in which collaborative tokens without a vector are padding, 0."""
        is_empty = ~jnp.any(self.vectors_of(source) != 0, axis=-1)
        return jnp.where(self.stands_at(source) & is_empty, 0, source)

    def with_vectors(self, vectors: Vectors) -> CollaborativeTokens:
        """A copy with other vectors, user f32[U',F] and item f32[I',F]."""
        copy = nnx.clone(self)
        copy.items, copy.users = Buffer(_padded(vectors.item)), Buffer(_padded(vectors.user))
        return copy

    def with_strangers(self, vectors: np.ndarray) -> CollaborativeTokens:
        """A copy that knows the vectors of some strangers, f32[n,F]."""
        copy = nnx.clone(self)
        copy.strangers = Buffer(jnp.asarray(vectors, jnp.float32))
        return copy

    def without_vectors(self) -> CollaborativeTokens:
        """A copy in which no token has a vector, so that a model reads the words and ids of prompts alone."""
        return self.with_vectors(Vectors(*(np.zeros(table.shape, np.float32) for table in (self.users, self.items))))


def _padded(rows: np.ndarray) -> jax.Array:
    """Rows f32[n,F] followed by zeros up to a multiple of `MULTIPLE`."""
    return jnp.pad(jnp.asarray(rows, jnp.float32), ((0, -len(rows) % MULTIPLE), (0, 0)))
