"""An item's own row beside its id: added to the input where the id ends, and the weights of a head over items."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import ItemHeadConfig
from jaxrec.keys import stream
from jaxrec.models.answers import Answers, ItemPlaces, items_before
from jaxrec.models.full_softmax import cross_entropy, sampled_cross_entropy
from jaxrec.models.oov import Buffer
from jaxrec.models.products import dense
from jaxrec.models.sibling_softmax import Siblings
from jaxrec.models.unit import unit
from jaxrec.types import Array, Batch

DEVIATION = 0.02
"""Standard deviation of a row's numbers at the start."""
NOISE = 0.3
"""Of that, what is random in rows that start as vectors."""


def rotated(vectors: np.ndarray, width: int, key: jax.Array) -> jax.Array:
    """Vectors turned at random into a space of another width: the same angles, and other numbers for each key.

    They are centred, cut to their first `width` principal components where they are longer, and scaled alike. Vectors
    that are all zeros stay zeros, and don't count where the others are centred.

    Args:
      vectors: f32[I,F].
      width: D.
      key: of the rotation.
    Returns:
      f32[I,D]; the mean square of a row's numbers is 1 or, of a row of zeros, 0.
    """
    vectors = np.asarray(vectors, np.float64)
    has_vector = np.any(vectors, axis=1, keepdims=True)
    centred = has_vector * (vectors - vectors.sum(axis=0) / max(has_vector.sum(), 1))
    if width < centred.shape[1]:
        centred = centred @ np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]
    rotation, _ = jnp.linalg.qr(jax.random.normal(key, (width, width)))
    return width**0.5 * unit(jnp.asarray(centred, jnp.float32)) @ rotation[: centred.shape[1]]


class ItemHead(nnx.Module):
    """A row for each item, beside the tokens of its id.

    Where an id ends, the item's row is added to the embedding of its last token; so items that share tokens, as those
    of one cluster do, are told apart by more than their last token. The head scores all items at once by the hidden
    state before an id's first code, whose other answer is that code: p(item) is the softmax over items of
    hidden . row or, with the similarity "cosine", of cosine(hidden, row) / temperature.

    With the setting `row_output` the row is added to the last token's output vector, too, and p(last code) is a softmax
    over the items that share the codes before it (see `LanguageModel.code_log_probs`). With the rows "vectors" a row is
    a linear map of the item's collaborative vector, so that a new item has one, as in TokenRec, eq. 19.

    Attributes:
      most_siblings: C, the largest number of ids that differ in the last code alone.
      share: of log p(item) in a score, the rest is that of log p(id), in [0, 1].

    Args:
      config: similarity, and weights of the loss and the score.
      item_tokens: the id of each item as tokens, prefix first, i32[I,1+L].
      d_model: D.
      dtype: of the products' operands.
      vectors: collaborative vectors of the items, f32[I,F]; used where rows are made of them or start as them.
      rngs: its "params" stream initialises.
    """

    def __init__(
        self,
        config: ItemHeadConfig,
        item_tokens: np.ndarray,
        d_model: int,
        dtype: str,
        vectors: np.ndarray,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.config = config
        self.prefix = int(item_tokens[0, 0])
        self.dtype = dtype
        self._sort(item_tokens)
        height, start, spread = len(item_tokens), 0.0, DEVIATION
        if config.rows == "vectors":
            height, square = vectors.shape[1], np.square(vectors).sum(axis=1).mean()
            self.scale = Buffer(jnp.asarray(max(square, 1e-12) ** -0.5, jnp.float32))
            self.vectors = Buffer(jnp.asarray(vectors, jnp.float32))
        elif config.initial == "vectors":
            start, spread = DEVIATION * rotated(vectors, d_model, rngs.params()), NOISE * DEVIATION

        def rows() -> nnx.Param:
            return nnx.Param(start + spread * jax.random.normal(rngs.params(), (height, d_model)))

        self.rows = rows()
        if not config.tied:
            self.output_rows = rows()

    def _table(self, rows: nnx.Param) -> jax.Array:
        """f32[I,D]: the parameters themselves, or vectors, scaled to a mean square length of 1, times them."""
        if self.config.rows == "own":
            return rows[...]
        return dense(self.vectors[...] * self.scale[...], rows[...], self.dtype)

    def input(self) -> jax.Array:
        """Rows of the items on the input side, f32[I,D]."""
        return self._table(self.rows)

    def output(self) -> jax.Array:
        """Rows of the items on the output side, f32[I,D]."""
        return self._table(self.rows if self.config.tied else self.output_rows)

    def _sort(self, item_tokens: np.ndarray) -> None:
        order = np.lexsort(item_tokens.T[::-1])
        self.codes = Buffer(jnp.asarray(item_tokens[order, 1:], jnp.int32))
        self.order = Buffer(jnp.asarray(order, jnp.int32))
        begins = 1 + np.flatnonzero((np.diff(item_tokens[order, :-1], axis=0) != 0).any(axis=1))
        self.most_siblings = int(np.diff(begins, prepend=0, append=len(order)).max())

    @property
    def share(self) -> float:
        """See the class."""
        return self.config.share

    @property
    def n_items(self) -> int:
        """I."""
        return self.codes.shape[0]

    @property
    def n_codes(self) -> int:
        """L, the number of codes of an id."""
        return self.codes.shape[1]

    def items_of(self, codes: Array) -> jax.Array:
        """The items of some ids, by binary search: codes as tokens, i32[...,L] -> i32[...], -1 = no item's id."""
        at = jnp.minimum(self.place(codes), self.n_items - 1)
        return jnp.where((self.codes[...][at] == codes).all(-1), self.order[...][at], -1)

    def place(self, codes: Array) -> jax.Array:
        """How many of the sorted ids are before each of some ids, codes as tokens i32[...,L] -> i32[...] in 0 .. I."""
        table, n_items = self.codes[...], self.n_items

        def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bounds
            middle = (low + high) // 2
            is_less, is_equal = jnp.zeros(low.shape, bool), jnp.ones(low.shape, bool)
            at_middles = table[jnp.minimum(middle, n_items - 1)]
            for at_middle, wanted in zip(jnp.moveaxis(at_middles, -1, 0), jnp.moveaxis(codes, -1, 0), strict=True):
                is_less |= is_equal & (at_middle < wanted)
                is_equal &= at_middle == wanted
            searching = low < high
            low = jnp.where(searching & is_less, middle + 1, low)
            return low, jnp.where(searching & ~is_less, middle, high)

        codes = jnp.asarray(codes)
        start = jnp.zeros(codes.shape[:-1], jnp.int32), jnp.full(codes.shape[:-1], n_items, jnp.int32)
        # A loop: unrolled and fused, each step would compute all steps before it again.
        return jax.lax.fori_loop(0, math.ceil(math.log2(n_items + 1)), halve, start)[0]

    def ends(self, tokens: Array) -> jax.Array:
        """Whether an id ends at each position: the prefix is L tokens before it; i32[B,S] -> bool[B,S]."""
        before = jnp.pad(jnp.asarray(tokens), ((0, 0), (self.n_codes, 0)))
        length = tokens.shape[1]
        is_end = before[:, :length] == self.prefix
        for n in range(1, self.n_codes + 1):
            token = before[:, n : n + length]
            is_end &= (token != self.prefix) & (token != 0)
        return is_end

    def item_places(self, tokens: Array) -> ItemPlaces:
        """The items of each row of tokens i32[B,P] in their order, at most N = P / (L + 1)."""
        is_end = self.ends(tokens)
        places = jnp.argsort(~is_end, axis=1, stable=True)[:, : max(tokens.shape[1] // (self.n_codes + 1), 1)]
        windows = jnp.maximum(places[..., None] - np.arange(self.n_codes)[None, None, ::-1], 0)
        codes = jnp.take_along_axis(jnp.asarray(tokens)[:, None], windows, axis=2)
        return ItemPlaces(places, codes, jnp.take_along_axis(is_end, places, axis=1))

    def added(self, tokens: Array) -> jax.Array:
        """What is added to the embeddings of tokens, i32[B,S] -> f32[B,S,D]: the rows of items whose ids end there."""
        before, length = jnp.pad(jnp.asarray(tokens), ((0, 0), (self.n_codes - 1, 0))), tokens.shape[1]
        codes = jnp.stack([before[:, n : n + length] for n in range(self.n_codes)], axis=-1)
        return jnp.where(self.ends(tokens)[..., None], self.added_to(codes), 0)

    def added_to(self, codes: Array) -> jax.Array:
        """The input rows of the items with these ids, codes as tokens i32[...,L] -> f32[...,D]; zeros for other ids."""
        if not self.config.row_input:
            return jnp.zeros((*codes.shape[:-1], self.rows.shape[-1]))
        items, table = self.items_of(codes), self.input()
        # Rows start with a deviation of 0.02, which suits a head; an input is that times the root of the width.
        rows = table[jnp.maximum(items, 0)] * table.shape[-1] ** 0.5
        return jnp.where((items >= 0)[..., None], rows, 0)

    def _query(self, hidden: jax.Array) -> jax.Array:
        return unit(hidden) / self.config.temperature if self.config.similarity == "cosine" else hidden

    def _keys(self) -> jax.Array:
        return unit(self.output()) if self.config.similarity == "cosine" else self.output()

    def log_probs(self, hidden: jax.Array) -> jax.Array:
        """Log p(item) of all items at hidden states before the first code of an id, f32[...,D] -> f32[...,I]."""
        return jax.nn.log_softmax(dense(self._query(hidden), self._keys().T, self.dtype))

    def loss(self, hidden: jax.Array, answers: Answers, key: jax.Array | None = None) -> jax.Array:
        """The mean of -log p(item) over the items of a batch's answers, f32[].

        Args:
          hidden: of the answers' positions, f32[B,T,D].
          answers: from `answers`.
          key: of the sampled negatives; None: all items.
        """
        flat = self._query(answers.hidden(hidden, 0))
        rows = flat, self._keys(), answers.items, answers.weights, self.dtype
        if key is None or not 0 < self.config.negatives < self.n_items:
            return cross_entropy(*rows, left_out=answers.before)
        sample = jax.random.randint(stream(key, "negatives"), (self.config.negatives,), 0, self.n_items)
        return sampled_cross_entropy(*rows, sample, left_out=answers.before)

    def answers(self, inputs: Array, batch: Batch) -> Answers:
        """The items among the answers of a batch.

        Args:
          inputs: answers shifted right, i32[B,T]: an item's position is that of the prefix before its id.
          batch: with the answers and the weights of their tokens.
        """
        n_codes = self.n_codes
        most = -(-batch.target.shape[1] // n_codes)  # each item of a row takes at least as many positions
        is_item = jnp.where(inputs == self.prefix, batch.weights, 0)
        # An item's positions first, so that what is behind them, in rows of `most`, can be skipped.
        places = jnp.argsort(is_item == 0, axis=1, stable=True)[:, :most]
        padded = jnp.pad(batch.target, ((0, 0), (0, n_codes)))
        codes = jnp.stack([jnp.take_along_axis(padded, places + n, axis=1) for n in range(n_codes)], axis=-1)
        items = self.items_of(codes)
        weights = jnp.where(items >= 0, jnp.take_along_axis(is_item, places, axis=1), 0)
        return Answers(
            places,
            jnp.swapaxes(codes, 0, 1).reshape(-1, n_codes),
            items.T.reshape(-1),
            weights.T.reshape(-1),
            self._before(batch, places, items) if self.config.mask_seen else None,
        )

    def _before(self, batch: Batch, places: jax.Array, items: jax.Array) -> jax.Array:
        """`Answers.before` of answers at `places`, items i32[B,N]."""
        read = self.item_places(batch.source)
        segments = jnp.take_along_axis(batch.target_segments, places, axis=1)
        return items_before(
            jnp.where(read.is_item, self.items_of(read.codes), -1),
            jnp.take_along_axis(batch.source_segments, read.places, axis=1),
            items,
            segments,
        )

    def last_codes(self) -> jax.Array:
        """The last code of each item, as a token, i32[I]."""
        return jnp.zeros(self.n_items, jnp.int32).at[self.order[...]].set(self.codes[...][:, -1])

    def siblings(self, codes: Array) -> Siblings:
        """Where the ids that differ from these in the last code alone, and themselves, are among the sorted ids.

        Args:
          codes: as tokens, i32[n,L].
        """
        codes, end = jnp.asarray(codes), jnp.iinfo(jnp.int32).max
        first = self.place(codes.at[:, -1].set(0))
        count = self.place(codes.at[:, -1].set(end)) - first
        return Siblings(first, jnp.maximum(count, 1), self.place(codes) - first)

    def extended(self, item_tokens: np.ndarray, vectors: np.ndarray) -> ItemHead:
        """The head for a catalogue that has grown or whose ids have changed, without training.

        With rows of its own, an item whose id is known keeps the row that belongs to this id; any other gets the mean
        of the rows of those that share the longest prefix of its id. Otherwise rows come from the vectors.

        Args:
          item_tokens: i32[I',1+L].
          vectors: collaborative vectors, f32[I',F].
        """
        known = np.asarray(self.items_of(jnp.asarray(item_tokens[:, 1:], jnp.int32)))
        of_vectors = self.config.rows == "vectors"
        same_ids = len(known) == self.n_items and (known == np.arange(len(known))).all()
        if same_ids and not (of_vectors and not np.array_equal(vectors, self.vectors[...])):
            return self
        head = nnx.clone(self)
        head._sort(item_tokens)
        if of_vectors:
            head.vectors = Buffer(jnp.asarray(vectors, jnp.float32))
            return head
        first, end = self._similar(item_tokens[known < 0, 1:])

        def moved(rows: jax.Array) -> nnx.Param:
            values = np.asarray(rows)  # f32[I,D]; of an ensemble f32[E,I,D]
            grown = np.take(values, np.maximum(known, 0), axis=-2)
            by_id = np.take(values, np.asarray(self.order[...]), axis=-2)
            sums = np.insert(np.cumsum(by_id, axis=-2, dtype=np.float64), 0, 0.0, axis=-2)
            grown[..., known < 0, :] = (sums[..., end, :] - sums[..., first, :]) / (end - first)[:, None]
            return nnx.Param(jnp.asarray(grown))

        head.rows = moved(self.rows[...])
        if not self.config.tied:
            head.output_rows = moved(self.output_rows[...])
        return head

    def _similar(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids that share the longest prefix with each of some ids i32[n,L]; all where none shares any.

        Returns:
          Places first <= place < end among the sorted ids, i64[n] each.
        """
        table = np.asarray(self.codes[...], np.int64)
        first, end = np.zeros(len(codes), np.int64), np.full(len(codes), len(table))
        group, groups = np.zeros(len(codes), np.int64), np.zeros(len(table), np.int64)  # numbers of prefixes so far
        shares = np.ones(len(codes), bool)
        for column in range(self.n_codes):
            most = max(table.max(), codes.max(initial=0)) + 1
            prefixes, wanted = groups * most + table[:, column], group * most + codes[:, column]
            low, high = (np.searchsorted(prefixes, wanted, side=side) for side in ("left", "right"))
            shares &= high > low
            first, end = np.where(shares, low, first), np.where(shares, high, end)
            groups = np.append(0, np.cumsum(np.diff(prefixes) > 0))
            group = groups[np.minimum(low, len(table) - 1)]
        return first, end
