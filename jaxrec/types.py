"""Types shared by several packages, and the legend of axis letters.

Axis letters, one legend for the whole project:
  U users, I items, N events, F collaborative width, L codes in an id, M new tokens, V vocabulary,
  B batch, S source length, T target length, D model width, W beams, H heads, K width of a head, X seen items,
  E members of an ensemble.
In attention also: Q queries of a step, h heads of keys and values that G = H / h heads of queries share, Y layers,
  Z width of the feed-forward layer, P = S + T positions of prompt and answer, A and R two axes flattened into one.

Padding is 0, "no item" is -1, masks are True = keep, ids are int32 and losses float32.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np


class DataError(ValueError):
    """What is wrong lies in a file (data, or a run's own), not in a setting or argument; the message names the file."""


Array = Any  # a jax.Array or a numpy array; docstrings give shapes and dtypes


@dataclasses.dataclass(frozen=True)
class Attributes:
    """What is known of items at all times, such as their categories, brand or genres; no event is in it.

    Values are numbered over all fields, in the order of the fields and, within one, of the names.

    Attributes:
      fields: names of the attributes, as the columns that they are read from.
      names: object[A], the values.
      field: i32[A], the field of each value, as a place in `fields`; ascending.
      offsets: i64[I+1]; the values of item i are values[offsets[i]:offsets[i+1]], none for some items.
      values: i32[*], numbers of values, none twice for an item, in the order of the fields and of the file.
    """

    fields: tuple[str, ...]
    names: np.ndarray
    field: np.ndarray
    offsets: np.ndarray
    values: np.ndarray

    @property
    def n_values(self) -> int:
        return len(self.names)

    @property
    def n_items(self) -> int:
        return len(self.offsets) - 1

    def of(self, item: int) -> np.ndarray:
        """The values of one item, i32[n]."""
        return self.values[self.offsets[item] : self.offsets[item + 1]]

    def rows(self, most: int) -> np.ndarray:
        """Number + 1 of the values of each item, its first `most`, padded with 0: i32[I, W], 1 <= W <= `most`."""
        counts = np.minimum(np.diff(self.offsets), most)
        rows = np.zeros((self.n_items, max(int(counts.max(initial=0)), 1)), np.int32)
        filled = np.arange(rows.shape[1]) < counts[:, None]
        places = self.offsets[:-1, None] + np.arange(rows.shape[1])
        rows[filled] = self.values[places[filled]] + 1
        return rows


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Events of users with items, grouped by user and in time order within a user.

    Attributes:
      user: i32[N], indices into `user_names`.
      item: i32[N], indices into `item_names`.
      user_names: str[U], as in the data.
      item_names: str[I], as in the data.
      rating: f32[N] or None where the data has none.
      time: i64[N] in seconds since 1970, or None where only the order is known.
      text: columns of strings by name ("review", "summary", ...), each object[N], or None.
      item_titles: str[I], human-readable, or None where the data has no titles.
      item_attributes: of the items, or None where none are read.
    """

    user: np.ndarray
    item: np.ndarray
    user_names: np.ndarray
    item_names: np.ndarray
    rating: np.ndarray | None = None
    time: np.ndarray | None = None
    text: dict[str, np.ndarray] | None = None
    item_titles: np.ndarray | None = None
    item_attributes: Attributes | None = None

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
        """Titles of the items, or their names where there are no titles, str[I]."""
        return self.item_names if self.item_titles is None else self.item_titles


@dataclasses.dataclass(frozen=True)
class Histories:
    """The items of every user, oldest first, as one ragged array.

    Attributes:
      offsets: i64[U+1]; the items of user u are items[offsets[u]:offsets[u+1]].
      items: i32[N].
      n_items: size of the catalogue, at least max(items) + 1.
      ratings: f32[N] or None; NaN for ratings that are held out.
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
    """Training histories and held-out targets. Everything that learns gets `train`, which holds no held-out event.

    Attributes:
      train: the training events.
      valid: i32[U], validation item of each user, -1 where there is none.
      test: i32[U], test item of each user, -1 where there is none.
      between: events after training and before the test item (under leave-one-out: the validation items).
      protocol: "strict", "temporal" or "as-released"; every table shows it.
      known: all events before `between`: those of `train`, and those of the unseen users and items.
      unseen_users: bool[U], users without events in `train`, held out on purpose.
      unseen_items: bool[I], likewise for items.
      attributes: of all items, or None. They are known at any time and tell of no event, so what learns may read them.
    """

    train: Histories
    valid: np.ndarray
    test: np.ndarray
    between: Histories
    protocol: str
    known: Histories
    unseen_users: np.ndarray
    unseen_items: np.ndarray
    attributes: Attributes | None = None

    @classmethod
    def of(cls, train: Histories, valid: np.ndarray, test: np.ndarray, between: Histories, protocol: str) -> Split:
        """A split without unseen users and items."""
        unseen = np.zeros(train.n_users, bool), np.zeros(train.n_items, bool)
        return cls(train, valid, test, between, protocol, train, *unseen)

    def target(self, part: str) -> np.ndarray:
        """Held-out items of `part` ("valid" or "test"), i32[U], -1 = none."""
        return {"valid": self.valid, "test": self.test}[part]

    def history(self, part: str) -> Histories:
        """The histories from which items of `part` ("train", "valid" or "test") are predicted.

        Raises:
          ValueError: `part` is none of these.
        """
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
    """Training, validation and test events of the tasks that predict ratings or write text, as row indices of
    `Interactions`.

    Attributes:
      train, valid, test: i64[*] each, ascending and disjoint.
      kept_out: i64[*], events removed from `train` because a leave-one-out split holds them out.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    kept_out: np.ndarray


@dataclasses.dataclass(frozen=True)
class Vectors:
    """One collaborative vector per user and item: user f32[U,F], item f32[I,F].

    A row of zeros belongs to an entity without training events.
    """

    user: np.ndarray
    item: np.ndarray


@dataclasses.dataclass(frozen=True)
class Codes:
    """Codes of entities, and the token names of each level.

    Attributes:
      values: i32[n,L]; values[:, l] < sizes[l].
      sizes: number of codes at each level.
      levels: format string of the token names of each level, "{}" for the code: ("<CT{}>", "<CI{}>").
    """

    values: np.ndarray
    sizes: tuple[int, ...]
    levels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class IdTable:
    """Ids of entities as vocabulary tokens: tokens i32[n, 1+L] = prefix (<User> or <Item>), then one per code."""

    tokens: np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """Packed rows of prompts and answers; several short examples may share a row.

    Attributes:
      source: i32[B,S], padded with 0.
      source_segments: i32[B,S]; 1, 2, ... number the examples of a row, 0 is padding.
      target: i32[B,T], labels, padded with 0.
      target_segments: i32[B,T], as source_segments.
      weights: f32[B,T], weight of each label in the loss; 0 on padding.
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
    """Ranks the catalogue for a batch of prompts."""

    def __call__(self, source: Array, seen: Array | None, k: int) -> TopK:
        """Best k items for prompts i32[B,S] (0 = padding), without the items `seen` i32[B,X] (-1 = padding)."""
        ...
