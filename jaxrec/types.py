"""The types that rooms hand to each other, and the legend of axis letters.

Axis letters, one legend for the whole project:
  U users, I items, N events, F collaborative width, L codes in an id, M new tokens, V vocabulary,
  B batch, S source length, T target length, D model width, W beams, H heads, K width of a head, X seen items.
In attention also: Q queries of a step, h heads of keys and values that G = H / h heads of queries share, Y layers,
  Z width of the feed-forward part, P = S + T positions of prompt and answer, A and R what two axes make together.

Padding is 0, "no item" is -1, masks are True = keep, ids are int32 and losses float32.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

Array = Any  # a jax.Array or a numpy array; shapes and dtypes stand in the docstrings


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Events of users with items; the rows of a user stand in time order.

    Attributes:
      user: i32[N], numbers into `user_names`.
      item: i32[N], numbers into `item_names`.
      user_names: str[U], as they stood in the data.
      item_names: str[I], as they stood in the data.
      rating: f32[N] or None where the data has none.
      time: i64[N] in seconds since 1970, or None where only the order is known.
      text: columns of strings by name ("review", "summary", ...), each object[N], or None.
      item_titles: str[I] for people to read, or None (then the name is all there is).
    """

    user: np.ndarray
    item: np.ndarray
    user_names: np.ndarray
    item_names: np.ndarray
    rating: np.ndarray | None = None
    time: np.ndarray | None = None
    text: dict[str, np.ndarray] | None = None
    item_titles: np.ndarray | None = None

    @property
    def n_users(self) -> int:
        return len(self.user_names)

    @property
    def n_items(self) -> int:
        return len(self.item_names)

    @property
    def n_events(self) -> int:
        return len(self.user)

    def titles(self) -> np.ndarray:
        """What a person reads for each item, str[I]."""
        return self.item_names if self.item_titles is None else self.item_titles


@dataclasses.dataclass(frozen=True)
class Histories:
    """The items of every user, oldest first, as one ragged array.

    Attributes:
      offsets: i64[U+1]; the items of user u are items[offsets[u]:offsets[u+1]].
      items: i32[N].
      n_items: size of the catalogue, at least max(items) + 1.
      ratings: f32[N] or None; NaN where one is held back.
    """

    offsets: np.ndarray
    items: np.ndarray
    n_items: int
    ratings: np.ndarray | None = None

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        return len(self.items)

    @property
    def users(self) -> np.ndarray:
        """The user of each event, i32[N]."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.offsets))

    def of(self, user: int) -> np.ndarray:
        """The items of one user, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]


@dataclasses.dataclass(frozen=True)
class Split:
    """Training histories and held-out targets. What learns is handed `train`, which holds no held-out event.

    Attributes:
      train: what learning may see.
      valid: i32[U], the item that selects, -1 where a user has none.
      test: i32[U], the item that tests, -1 where a user has none.
      between: events after training and before the test item (under leave-one-out: the validation item).
      protocol: "strict", "temporal" or "as-released"; printed in every table.
      known: all events before `between`: `train` and, where users or items were held out as unseen, theirs.
      unseen_users: bool[U], users that `train` holds nothing of.
      unseen_items: bool[I], likewise.
    """

    train: Histories
    valid: np.ndarray
    test: np.ndarray
    between: Histories
    protocol: str
    known: Histories
    unseen_users: np.ndarray
    unseen_items: np.ndarray

    @classmethod
    def of(cls, train: Histories, valid: np.ndarray, test: np.ndarray, between: Histories, protocol: str) -> Split:
        """A split without unseen users and items."""
        unseen = np.zeros(train.n_users, bool), np.zeros(train.n_items, bool)
        return cls(train, valid, test, between, protocol, train, *unseen)

    def target(self, part: str) -> np.ndarray:
        """Held-out items of `part` ("valid" or "test"), i32[U], -1 = none."""
        return {"valid": self.valid, "test": self.test}[part]

    def history(self, part: str) -> Histories:
        """All that is known of each user when `part` ("train", "valid" or "test") is predicted."""
        if part == "train":
            return self.train
        if part == "valid":
            return self.known
        if part != "test":
            raise ValueError(f"part={part!r} is not one of train, valid, test")
        return join_histories(self.known, self.between)


def join_histories(first: Histories, then: Histories) -> Histories:
    """Each user's items of `first` followed by those of `then`; ratings are kept where both have them."""
    users = np.concatenate([first.users, then.users])
    order = np.argsort(users, kind="stable")
    ratings = None
    if first.ratings is not None and then.ratings is not None:
        ratings = np.concatenate([first.ratings, then.ratings])[order]
    items = np.concatenate([first.items, then.items])[order]
    return Histories(first.offsets + then.offsets, items, first.n_items, ratings)


@dataclasses.dataclass(frozen=True)
class EventSplit:
    """Which events teach ratings and texts, which select and which test: numbers into the rows of `Interactions`.

    Attributes:
      train, valid, test: i64[*] each, rising; no event is in two of them.
      kept_out: the rest of the training part, i64[*]: left out of it because a leave-one-out split holds them back.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    kept_out: np.ndarray


@dataclasses.dataclass(frozen=True)
class Vectors:
    """One collaborative vector per user and item: user f32[U,F], item f32[I,F].

    A row of zeros means that no training event touches the entity.
    """

    user: np.ndarray
    item: np.ndarray


@dataclasses.dataclass(frozen=True)
class Codes:
    """Local numbers per entity, and how each level's tokens are called.

    Attributes:
      values: i32[n,L]; values[:, l] < sizes[l].
      sizes: how many codes each level has.
      levels: a token's name at each level, "{}" where its number stands: ("<CT{}>", "<CI{}>").
    """

    values: np.ndarray
    sizes: tuple[int, ...]
    levels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class IdTable:
    """Rows of vocabulary tokens that name entities: tokens i32[n, 1+L] = prefix (<User> or <Item>), then codes."""

    tokens: np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """Token rows for an encoder-decoder; several short examples may share a row.

    Attributes:
      source: i32[B,S], padded with 0.
      source_segments: i32[B,S]; 1, 2, ... number the examples of a row, 0 is padding.
      target: i32[B,T], what the decoder has to say (labels), padded with 0.
      target_segments: i32[B,T], as source_segments.
      weights: f32[B,T], how much each label counts; 0 on padding.
    """

    source: Array
    source_segments: Array
    target: Array
    target_segments: Array
    weights: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TopK:
    """Recommendations, best first: items i32[B,k] (-1 = none), scores f32[B,k] (-inf where none)."""

    items: Array
    scores: Array


class Recommender(Protocol):
    """Anything that ranks the catalogue for a batch of prompts."""

    def __call__(self, source: Array, seen: Array | None, k: int) -> TopK:
        """Best k items for prompts i32[B,S] (0 = padding); `seen` i32[B,X] (-1 = padding) is left out."""
        ...
