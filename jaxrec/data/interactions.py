"""From a frame of events to `Interactions`: numbering, ordering and filtering, with counts of what was dropped."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import polars as pl

from jaxrec.data.attributes import attributes_of_some
from jaxrec.keys import generator
from jaxrec.types import DataError, Interactions


@dataclasses.dataclass(frozen=True)
class Notes:
    """Counts of what loading changed or dropped; printable.

    Attributes:
      source: the file, or "generated".
      read: events in the file.
      reading: what the reader changed, guessed or left out, a sentence each.
      repeats: events dropped because the user has an earlier event with the item.
      tied: of the others, events that share their time with another one of the user; a seeded shuffle ordered them.
      has_times: whether events are ordered by time; otherwise by their lines in the file.
      least_user: minimum number of events per user; filtering repeats until all remaining users have it.
      least_item: the same for items; 0 keeps all.
      users, items, events: numbers dropped by that filter.
      skipped: rows that could not be read and were left out, as the reader was told to.
      untitled: items without a title, where titles were given; their name is used.
      several_titles: items with different titles in the file, of which the first is used.
    """

    source: str
    read: int
    repeats: int = 0
    tied: int = 0
    has_times: bool = True
    least_user: int = 0
    least_item: int = 0
    users: int = 0
    items: int = 0
    events: int = 0
    untitled: int = 0
    several_titles: int = 0
    reading: tuple[str, ...] = ()
    skipped: int = 0

    def warnings(self) -> list[str]:
        """One line for each kind of drop or guess; empty if nothing was changed."""
        lines = list(self.reading)
        if self.repeats:
            lines.append(f"{self.repeats} events repeat a user's item; the first of each was kept")
        if self.users or self.items:
            needs = f"users with fewer than {self.least_user} events"
            if self.least_item:
                needs += f" and items with fewer than {self.least_item}"
            lines.append(f"{needs} were dropped: {self.users} users, {self.items} items, {self.events} events")
        if self.tied:
            lines.append(f"{self.tied} events share their time with another one of their user; shuffled by the seed")
        if self.untitled:
            lines.append(f"{self.untitled} items have no title and go by their name")
        if self.several_titles:
            lines.append(f"{self.several_titles} items have different titles in the file; the first of each is used")
        return lines

    def __str__(self) -> str:
        order = "times" if self.has_times else "the lines of the file"
        lines = [f"{self.source}: {self.read} events read, ordered by {order}"]
        return "\n".join(lines + [f"{self.source}: {line}" for line in self.warnings()])


def assemble_interactions(events: pl.DataFrame, *, seed: int, source: str) -> tuple[Interactions, Notes]:
    """Numbers users and items, orders each user's events, and keeps the first event of each user-item pair.

    Events of a user at the same time are shuffled by `seed`, because the file's order or the item's name could leak
    what is to be predicted. For the same reason numbers follow a digest of the names.

    Args:
      events: as `jaxrec.data.readers.reader.Reader.read` returns it, at least one row.
      seed: of the shuffle.
      source: name of the data in messages.

    Returns:
      Interactions with rows sorted by user, then time; and the counts of what was dropped.
    """
    user, user_names = _number(events["user"])
    item, item_names = _number(events["item"])
    if "time" in events.columns:
        time = events["time"].to_numpy()
        order = generator(seed, "ties").permutation(len(user))
        order = order[np.lexsort((time[order], user[order]))]  # a stable sort, which leaves ties shuffled
    else:
        time = None
        order = np.argsort(user, kind="stable")
    pair = user[order].astype(np.int64) * len(item_names) + item[order]
    rows = order[np.sort(np.unique(pair, return_index=True)[1])]
    tied = 0
    if time is not None:
        same = (np.diff(user[rows]) == 0) & (np.diff(time[rows]) == 0)
        tied = int((np.append(same, False) | np.append(False, same)).sum())

    interactions = Interactions(
        user=user[rows],
        item=item[rows],
        user_names=user_names,
        item_names=item_names,
        rating=events["rating"].to_numpy()[rows].astype(np.float32) if "rating" in events.columns else None,
        time=None if time is None else time[rows] // 1000,
        text={name: _strings(events[name])[rows] for name in ("review", "summary") if name in events.columns} or None,
    )
    return interactions, Notes(source, len(user), repeats=len(user) - len(rows), tied=tied, has_times=time is not None)


def keep_frequent(
    interactions: Interactions, notes: Notes, *, k_core: int, min_events: int
) -> tuple[Interactions, Notes]:
    """Drops users with fewer than max(k_core, min_events) events and items with fewer than k_core, repeatedly until
    all remaining have enough. Items without a remaining event leave the catalogue.

    Raises:
      DataError: nothing is left.
    """
    least_user, least_item = max(k_core, min_events), k_core
    keep = np.ones(interactions.n_events, bool)
    while True:
        users = np.bincount(interactions.user[keep], minlength=interactions.n_users)
        items = np.bincount(interactions.item[keep], minlength=interactions.n_items)
        stays = (users[interactions.user] >= least_user) & (items[interactions.item] >= least_item)
        if stays[keep].all():
            break
        keep &= stays
    if not keep.any():
        repeats = f" ({notes.repeats} more repeat a user's item and don't count)" if notes.repeats else ""
        longest = int(np.bincount(interactions.user).max())
        raise DataError(
            f"{notes.source}: no event is left of {interactions.n_events}{repeats} when users need {least_user} events"
            f" and items {least_item}; the longest history has {longest} different items: lower --data.k-core or"
            " --data.min-events, or give more data"
        )
    kept = _select(interactions, keep, users > 0, items > 0)
    return kept, dataclasses.replace(
        notes,
        least_user=least_user,
        least_item=least_item,
        users=interactions.n_users - kept.n_users,
        items=interactions.n_items - kept.n_items,
        events=interactions.n_events - kept.n_events,
    )


def with_titles(interactions: Interactions, notes: Notes, titles: dict[str, str]) -> tuple[Interactions, Notes]:
    """Sets item titles; an item without one gets its name."""
    item_titles = [titles.get(name) or name for name in interactions.item_names]
    untitled = sum(not titles.get(name) for name in interactions.item_names)
    return (
        dataclasses.replace(interactions, item_titles=np.array(item_titles, dtype=object)),
        dataclasses.replace(notes, untitled=untitled),
    )


def _number(names: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Numbers i32[N] and names object[n]; sorted by a digest, which is independent of order, time and popularity."""
    categories = pl.Categories.random()
    coded = names.cast(pl.Categorical(categories))  # the categories live as long as a series of them
    texts, codes = categories.to_series().to_list(), coded.to_physical().to_numpy()
    in_rows = np.flatnonzero(np.bincount(codes, minlength=len(texts))).tolist()
    digests = {code: hashlib.blake2b(texts[code].encode(), digest_size=8).digest() for code in in_rows}
    order = sorted(in_rows, key=lambda code: (digests[code], texts[code]))
    number_of = np.zeros(len(texts), np.int32)
    number_of[order] = np.arange(len(order), dtype=np.int32)
    return number_of[codes], np.array([texts[code] for code in order], dtype=object)


def _strings(column: pl.Series) -> np.ndarray:
    return np.array(column.to_list(), dtype=object)


def _select(interactions: Interactions, rows: np.ndarray, users: np.ndarray, items: np.ndarray) -> Interactions:
    """The events, users and items selected by three masks, renumbered in the old order."""
    new_user = (np.cumsum(users) - 1).astype(np.int32)
    new_item = (np.cumsum(items) - 1).astype(np.int32)
    rating, time, text, titles, attributes = (
        interactions.rating,
        interactions.time,
        interactions.text,
        interactions.item_titles,
        interactions.item_attributes,
    )
    return Interactions(
        user=new_user[interactions.user[rows]],
        item=new_item[interactions.item[rows]],
        user_names=interactions.user_names[users],
        item_names=interactions.item_names[items],
        rating=None if rating is None else rating[rows],
        time=None if time is None else time[rows],
        text=None if text is None else {name: column[rows] for name, column in text.items()},
        item_titles=None if titles is None else titles[items],
        item_attributes=None if attributes is None else attributes_of_some(attributes, items),
    )
