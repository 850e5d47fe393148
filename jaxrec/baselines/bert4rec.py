"""BERT4Rec (Sun et al. 2019): bidirectional self-attention that fills in masked items, by a softmax over all."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.baselines.full_softmax import cross_entropy
from jaxrec.baselines.next_item_model import NextItem, SequenceConfig, linear, places, starts, table
from jaxrec.baselines.next_item_training import next_item_baseline
from jaxrec.baselines.sasrec import Block
from jaxrec.keys import stream
from jaxrec.models.dropout import Dropout
from jaxrec.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class Bert4RecConfig(SequenceConfig):
    """The paper's form but for its norms, which here stand before each part (as in SASRec), and its output bias."""

    layers: int = 2
    heads: int = 2
    inner: int = 256
    """Width between the two layers of a block's feed-forward part."""
    mask: float = 0.3
    """Share of the items that are masked, rho."""
    last: float = 0.2
    """Share of the sequences in which the last item alone is masked, as when it is asked for what comes next."""
    dropout: float = 0.2
    epochs: float = 200
    validate_every: float = 4


class Bert4Rec(NextItem):
    """Blocks of bidirectional self-attention over items, masks and positions.

    Args:
      config: its shape.
      n_items: I; the token of a mask is I + 1.
    """

    config: Bert4RecConfig

    def __init__(self, config: Bert4RecConfig, n_items: int, *, rngs: nnx.Rngs) -> None:
        if config.dim % config.heads:
            raise ValueError(f"dim={config.dim} doesn't divide among heads={config.heads}; give a multiple")
        self.config = config
        self.item_embedding = table(n_items + 1, config.dim, rngs=rngs)
        self.position_embedding = table(config.length + 1, config.dim, rngs=rngs)
        shape = config.dim, config.heads, config.inner, config.compute_dtype
        self.blocks = nnx.List([Block(*shape, activation=jax.nn.gelu, rngs=rngs) for _ in range(config.layers)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)
        self.output = linear(config.dim, config.dim, config.compute_dtype, rngs=rngs)
        self.output_norm = nnx.LayerNorm(config.dim, rngs=rngs)

    @property
    def items(self) -> jax.Array:
        """The items' embeddings, which also score, f32[I, D]."""
        return self.item_embedding[...][:-1]

    @property
    def mask_token(self) -> int:
        """What stands for a hidden item."""
        return self.item_embedding.shape[0]

    def __call__(self, tokens: Array, segments: Array, *, key: jax.Array | None = None) -> jax.Array:
        """As `NextItem`; each place sees its whole sequence, which may hold masks and one place more than `length`."""
        drop = Dropout(self.config.dropout, key)
        segments = jnp.asarray(segments)
        place = jnp.minimum(places(segments), self.config.length)
        x = self.item_embedding[...][jnp.maximum(tokens - 1, 0)] * self.config.dim**0.5
        x = jnp.where(segments[..., None] > 0, drop(x + self.position_embedding[...][place]), 0)
        mask = segments[:, :, None] == segments[:, None, :]
        for block in self.blocks:
            x = block(x, mask, drop)
        return self.output_norm(jax.nn.gelu(self.output(self.norm(x), drop)))

    def answers(self, tokens: Array, users: Array) -> jax.Array:
        """The vector of a mask behind each history."""
        del users
        tokens = jnp.pad(jnp.asarray(tokens), ((0, 0), (0, 1)))
        held = tokens > 0
        end = held.sum(axis=1, keepdims=True)
        asked = jnp.where(jnp.arange(tokens.shape[1])[None] == end, self.mask_token, tokens)
        hidden = self(asked, (asked > 0).astype(jnp.int32))
        return jnp.take_along_axis(hidden, end[..., None], axis=1)[:, 0]


def cloze_loss(model: Bert4Rec, batch: Batch, key: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy over all items of those that a mask hides; BERT4Rec, eq. 8.

    Args:
      model: the model.
      batch: source and target hold the same sequences.
      key: of masks and dropout; None hides by a fixed key and drops nothing.
    Returns:
      The mean over hidden items, f32[], and no further metrics.
    """
    config = model.config
    hidden = hide(
        batch.source_segments, config.mask, config.last, stream(jax.random.key(0) if key is None else key, "masks")
    )
    tokens = jnp.where(hidden, model.mask_token, batch.source)
    states = model(tokens, batch.source_segments, key=key)
    # A place in the loss costs a product with the whole catalogue: only as many go in as masks may take.
    most = min(tokens.size, round(tokens.size * min(1.0, 2 * config.mask + config.last)))
    weights, where = jax.lax.top_k(hidden.reshape(-1).astype(jnp.float32), most)
    flat = states.reshape(-1, states.shape[-1])[where]
    labels = jnp.asarray(batch.target).reshape(-1)[where] - 1
    return cross_entropy(flat, model.items, labels, weights, config.compute_dtype), {}


def hide(segments: Array, mask: float, last: float, key: jax.Array) -> jax.Array:
    """Which places are masked, bool[B, S]: each at the rate `mask`, or in a share of the sequences the last one alone.

    Args:
      segments: i32[B, S], 0 = padding.
      mask: in [0, 1].
      last: in [0, 1].
      key: random key.
    """
    segments = jnp.asarray(segments)
    by_place, by_sequence = jax.random.uniform(key, (2, *segments.shape))
    index = jnp.arange(segments.shape[1])[None]
    first = index - places(segments)
    asks = jnp.take_along_axis(by_sequence, first, axis=1) < last  # one draw a sequence: that of its first place
    ends = jnp.pad(starts(segments)[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    return (segments > 0) & jnp.where(asks, ends, by_place < mask)


BASELINE = next_item_baseline("BERT4Rec", Bert4Rec, Bert4RecConfig(), loss=cloze_loss, ahead=0)
