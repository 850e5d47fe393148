"""Which events train, which select and which test. What learns is handed `Split.train`, without any held-out event."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from jaxrec.keys import generator
from jaxrec.types import EventSplit, Histories, Interactions, Split

TRAIN_SHARE = 0.8
VALID_SHARE = 0.1


def make_split(interactions: Interactions, kind: Literal["strict", "temporal"] = "strict") -> Split:
    """Hold events out.

    strict: leave-one-out. Each user's last event tests, the one before selects, all earlier ones train;
    `between` is the selecting event, which is known by the time of the test.

    temporal: two moments, the same for all users, cut off the first 80% of events (train), the next 10% (`between`) and
    the rest. A user's first event after each cut is the target; users without a training event have none (-1). Nothing
    that happened after the cut is known to anybody, which leave-one-out can't promise.

    Raises:
      ValueError: strict, and a user has fewer than three events; temporal, and there are no times or one cut is empty.
    """
    if kind == "strict":
        return _strict(interactions)
    if kind == "temporal":
        return _temporal(interactions)
    raise ValueError(f"split={kind!r} is not one of strict, temporal")


def hold_unseen(split: Split, *, users: float, items: float, seed: int) -> Split:
    """Takes users and items out of training altogether, to see how a system does with newcomers; TokenRec, section 3.3.

    Their events stay in `known`, from which an embedder may be refreshed and prompts are made, and their held-out
    items still test. They do not select: `valid` is -1 for users held out and for targets held out.

    Args:
      split: a split that holds nothing out yet.
      users: share of the users, those with the fewest events first, ties by lot.
      items: share of the items, by lot.
      seed: of both lots.
    Raises:
      ValueError: a share is not in [0, 1), or no training event would be left.
    """
    for name, share in (("unseen_users", users), ("unseen_items", items)):
        if not 0 <= share < 1:
            raise ValueError(f"{name}={share} is a share, wanted 0 <= {name} < 1")
    if not users and not items:
        return split
    known = split.known
    lot = generator(seed, "unseen users").permutation(known.n_users)
    fewest = lot[np.argsort(np.diff(known.offsets)[lot], kind="stable")]
    out_users, out_items = np.zeros(known.n_users, bool), np.zeros(known.n_items, bool)
    out_users[fewest[: round(users * known.n_users)]] = True
    out_items[generator(seed, "unseen items").permutation(known.n_items)[: round(items * known.n_items)]] = True
    stays = ~out_users[known.users] & ~out_items[known.items]
    if not stays.any():
        raise ValueError(f"unseen_users={users} and unseen_items={items} leave no training event; lower them")
    counts = np.bincount(known.users[stays], minlength=known.n_users)
    train = Histories(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        known.items[stays],
        known.n_items,
        None if known.ratings is None else known.ratings[stays],
    )
    selects = (split.valid >= 0) & ~out_users & ~out_items[split.valid]
    return dataclasses.replace(
        split,
        train=train,
        valid=np.where(selects, split.valid, -1).astype(np.int32),
        unseen_users=out_users,
        unseen_items=out_items,
    )


def split_events(interactions: Interactions, *, seed: int, withheld: np.ndarray | None = None) -> EventSplit:
    """Events drawn into 80% that teach ratings and texts, 10% that select and 10% that test (META ID, section C.1).

    Every user and item has an event among the 80%: one of each, by lot, can't be drawn out of them. Where users have so
    few events that less than 20% are left to draw from, the two small parts share those. Events that a leave-one-out
    split of the same run holds back are then taken out of the 80%, which may leave somebody without one.

    Args:
      interactions: N events.
      seed: of the draw.
      withheld: bool[N], events that a leave-one-out split of the same run holds back; they never train.
    Raises:
      ValueError: nothing is left to train, select or test with.
    """
    n = interactions.n_events
    order = generator(seed, "events").permutation(n)
    stays = np.zeros(n, bool)
    stays[order[np.unique(interactions.user[order], return_index=True)[1]]] = True
    covered = np.zeros(interactions.n_items, bool)
    covered[interactions.item[stays]] = True
    items, firsts = np.unique(interactions.item[order], return_index=True)
    stays[order[firsts[~covered[items]]]] = True
    drawn = order[~stays[order]]
    size = min(round(n * (1 - TRAIN_SHARE - VALID_SHARE)), len(drawn) // 2)
    test, valid = drawn[:size], drawn[size : 2 * size]
    trains = np.ones(n, bool)
    trains[drawn[: 2 * size]] = False
    kept_out = trains & (np.zeros(n, bool) if withheld is None else withheld)
    trains &= ~kept_out
    if not size or not trains.any():
        raise ValueError(
            f"{n} events of {interactions.n_users} users and {interactions.n_items} items can't be split 80/10/10 with "
            "every user and item in training; take more data, or fewer tasks beside ratings and texts"
        )
    return EventSplit(np.flatnonzero(trains), np.sort(valid), np.sort(test), np.flatnonzero(kept_out))


def training_events_alone(interactions: Interactions, events: EventSplit) -> Split:
    """A split whose training part is that of some events; nothing is held out to rank. Its protocol is "80/10/10"."""
    train = _histories(interactions, events.train)
    nobody = np.full(interactions.n_users, -1, np.int32)
    between = Histories(np.zeros(interactions.n_users + 1, np.int64), np.zeros(0, np.int32), interactions.n_items)
    return Split.of(train, nobody, nobody, between, "80/10/10")


def withheld_events(interactions: Interactions, split: Split) -> np.ndarray:
    """Events that a split does not train on, bool[N]."""
    trained = _pairs(split.train.users, split.train.items, split.train.n_items)
    return ~np.isin(_pairs(interactions.user, interactions.item, interactions.n_items), trained)


def without_ratings(split: Split, interactions: Interactions, rows: np.ndarray) -> Split:
    """The split with ratings of some events i64[*] unknown, as NaN: who took what stays, how it was liked does not."""
    if split.train.ratings is None:
        return split
    held = _pairs(interactions.user[rows], interactions.item[rows], interactions.n_items)

    def hidden(histories: Histories) -> Histories:
        if histories.ratings is None:
            return histories
        mine = np.isin(_pairs(histories.users, histories.items, histories.n_items), held)
        return dataclasses.replace(histories, ratings=np.where(mine, np.nan, histories.ratings).astype(np.float32))

    known = hidden(split.known)
    train = known if split.known is split.train else hidden(split.train)
    return dataclasses.replace(split, train=train, known=known, between=hidden(split.between))


def _pairs(user: np.ndarray, item: np.ndarray, n_items: int) -> np.ndarray:
    return user.astype(np.int64) * n_items + item


def _strict(interactions: Interactions) -> Split:
    order, counts = _by_user(interactions)
    if counts.min(initial=3) < 3:
        name = interactions.user_names[int(counts.argmin())]
        raise ValueError(
            f"a strict split needs 3 events of each user (train, validate, test); {(counts < 3).sum()} users have"
            f" fewer, for instance {name!r}; drop them with --data.min-events 3"
        )
    from_end = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(order))  # 0 at the last event of a user
    items = interactions.item[order]
    return Split.of(
        train=_histories(interactions, order[from_end >= 2]),
        valid=items[from_end == 1],
        test=items[from_end == 0],
        between=_histories(interactions, order[from_end == 1]),
        protocol="strict",
    )


def _temporal(interactions: Interactions) -> Split:
    time = interactions.time
    if time is None:
        raise ValueError("a temporal split needs times, and this data has none; use --data.split strict")
    order, _ = _by_user(interactions)
    ranked = np.sort(time)
    first_cut = ranked[int(len(ranked) * TRAIN_SHARE)]
    second_cut = ranked[int(len(ranked) * (TRAIN_SHARE + VALID_SHARE))]
    when = time[order]
    train = _histories(interactions, order[when < first_cut])
    between = _histories(interactions, order[(when >= first_cut) & (when < second_cut)])
    after = _histories(interactions, order[when >= second_cut])
    if not (train.n_events and between.n_events and after.n_events):
        raise ValueError(f"times are too coarse for a temporal split: cuts fall at {first_cut} and {second_cut}")
    known = np.diff(train.offsets) > 0
    return Split.of(
        train=train,
        valid=np.where(known, _first(between), -1).astype(np.int32),
        test=np.where(known, _first(after), -1).astype(np.int32),
        between=between,
        protocol="temporal",
    )


def _by_user(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Rows user by user with each user's order kept, i64[N], and the events of each user, i64[U]."""
    order = np.argsort(interactions.user, kind="stable")
    return order, np.bincount(interactions.user, minlength=interactions.n_users)


def _histories(interactions: Interactions, rows: np.ndarray) -> Histories:
    """Histories of the given rows, which stand user by user."""
    counts = np.bincount(interactions.user[rows], minlength=interactions.n_users)
    rating = interactions.rating
    return Histories(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=interactions.item[rows].astype(np.int32),
        n_items=interactions.n_items,
        ratings=None if rating is None else rating[rows].astype(np.float32),
    )


def _first(histories: Histories) -> np.ndarray:
    """The first item of each user, -1 where there is none."""
    found = np.full(histories.n_users, -1, np.int32)
    some = np.diff(histories.offsets) > 0
    found[some] = histories.items[histories.offsets[:-1][some]]
    return found
