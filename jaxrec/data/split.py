"""Splits events into training, validation and test. Training code sees `Split.train` only."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from jaxrec.keys import generator
from jaxrec.types import EventSplit, Histories, Interactions, Split

TRAIN_SHARE = 0.8
VALID_SHARE = 0.1


def make_split(interactions: Interactions, kind: Literal["strict", "temporal"] = "strict") -> Split:
    """Splits events into training, validation and test.

    strict: leave-one-out. Each user's last event is the test target, the one before it the validation target, all
    earlier ones train; `between` is the validation event, which is in the history at test time.

    temporal: two cut times, the same for all users, divide events into the first 80% (train), the next 10% (`between`)
    and the rest. A user's first event after each cut is the target; users without a training event have none (-1).
    Unlike leave-one-out, no training event of any user is later than a cut.

    Raises:
      ValueError: strict, and a user has fewer than three events; temporal, and there are no times or a part is empty.
    """
    kinds = {"strict": _strict, "temporal": _temporal}
    if kind not in kinds:
        raise ValueError(f"split={kind!r} is not one of strict, temporal")
    return dataclasses.replace(kinds[kind](interactions), attributes=interactions.item_attributes)


def hold_unseen(split: Split, *, users: float, items: float, seed: int) -> Split:
    """Removes users and items from training entirely, to measure unseen users and items; TokenRec, section 3.3.

    Their events stay in `known`, from which an embedder may be refreshed and prompts are made, and their test targets
    stay. They are not used for validation: `valid` is -1 for unseen users and for unseen target items.

    Args:
      split: a split without unseen users or items.
      users: share of the users, those with the fewest events first, ties at random.
      items: share of the items, drawn at random.
      seed: of both draws.
    Raises:
      ValueError: a share is not in [0, 1), or no training event would be left.
    """
    for name, share in (("unseen_users", users), ("unseen_items", items)):
        if not 0 <= share < 1:
            raise ValueError(f"{name}={share} is a share, wanted 0 <= {name} < 1")
    if not users and not items:
        return split
    histories = split.known
    random_order = generator(seed, "unseen users").permutation(histories.n_users)
    fewest = random_order[np.argsort(np.diff(histories.offsets)[random_order], kind="stable")]
    out_users, out_items = np.zeros(histories.n_users, bool), np.zeros(histories.n_items, bool)
    out_users[fewest[: round(users * histories.n_users)]] = True
    out_items[generator(seed, "unseen items").permutation(histories.n_items)[: round(items * histories.n_items)]] = True
    trains = ~out_users[histories.users] & ~out_items[histories.items]
    if not trains.any():
        raise ValueError(f"unseen_users={users} and unseen_items={items} leave no training event; lower them")
    counts = np.bincount(histories.users[trains], minlength=histories.n_users)
    train = Histories(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        histories.items[trains],
        histories.n_items,
        None if histories.ratings is None else histories.ratings[trains],
    )
    validates = (split.valid >= 0) & ~out_users & ~out_items[split.valid]
    return dataclasses.replace(
        split,
        train=train,
        valid=np.where(validates, split.valid, -1).astype(np.int32),
        unseen_users=out_users,
        unseen_items=out_items,
    )


def split_events(interactions: Interactions, *, seed: int, withheld: np.ndarray | None = None) -> EventSplit:
    """A random 80/10/10 split of events for ratings and texts; META ID, section C.1.

    One random event of each user and of each item always trains. If less than 20% of the events remain to draw from,
    validation and test share those equally. Events that a leave-one-out split of the same run withholds are then
    removed from training, which may leave a user or item without a training event.

    Args:
      interactions: N events.
      seed: of the draw.
      withheld: bool[N], events that a leave-one-out split of the same run withholds; they never train.
    Raises:
      ValueError: no event is left for training, validation or test.
    """
    n = interactions.n_events
    order = generator(seed, "events").permutation(n)
    always_trains = np.zeros(n, bool)
    always_trains[order[np.unique(interactions.user[order], return_index=True)[1]]] = True
    covered = np.zeros(interactions.n_items, bool)
    covered[interactions.item[always_trains]] = True
    items, firsts = np.unique(interactions.item[order], return_index=True)
    always_trains[order[firsts[~covered[items]]]] = True
    drawn = order[~always_trains[order]]
    size = min(round(n * (1 - TRAIN_SHARE - VALID_SHARE)), len(drawn) // 2)
    test, valid = drawn[:size], drawn[size : 2 * size]
    trains = np.ones(n, bool)
    trains[drawn[: 2 * size]] = False
    removed = trains & (np.zeros(n, bool) if withheld is None else withheld)
    trains &= ~removed
    if not size or not trains.any():
        raise ValueError(
            f"{n} events of {interactions.n_users} users and {interactions.n_items} items can't be split 80/10/10 with "
            "every user and item in training; take more data, or fewer tasks beside ratings and texts"
        )
    return EventSplit(np.flatnonzero(trains), np.sort(valid), np.sort(test), np.flatnonzero(removed))


def training_events_alone(interactions: Interactions, events: EventSplit) -> Split:
    """A split that trains on `events.train` and has no ranking targets; its protocol is "80/10/10"."""
    train = _histories(interactions, events.train)
    no_target = np.full(interactions.n_users, -1, np.int32)
    between = Histories(np.zeros(interactions.n_users + 1, np.int64), np.zeros(0, np.int32), interactions.n_items)
    return Split.of(train, no_target, no_target, between, "80/10/10")


def withheld_events(interactions: Interactions, split: Split) -> np.ndarray:
    """Mask of the events that a split does not train on, bool[N]."""
    trained = _pairs(split.train.users, split.train.items, split.train.n_items)
    return ~np.isin(_pairs(interactions.user, interactions.item, interactions.n_items), trained)


def without_ratings(split: Split, interactions: Interactions, rows: np.ndarray) -> Split:
    """The split with the ratings of the events `rows` i64[*] set to NaN; the events themselves stay."""
    if split.train.ratings is None:
        return split
    withheld = _pairs(interactions.user[rows], interactions.item[rows], interactions.n_items)

    def hide(histories: Histories) -> Histories:
        if histories.ratings is None:
            return histories
        masked = np.isin(_pairs(histories.users, histories.items, histories.n_items), withheld)
        return dataclasses.replace(histories, ratings=np.where(masked, np.nan, histories.ratings).astype(np.float32))

    known = hide(split.known)
    train = known if split.known is split.train else hide(split.train)
    return dataclasses.replace(split, train=train, known=known, between=hide(split.between))


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
    has_training = np.diff(train.offsets) > 0
    return Split.of(
        train=train,
        valid=np.where(has_training, _first(between), -1).astype(np.int32),
        test=np.where(has_training, _first(after), -1).astype(np.int32),
        between=between,
        protocol="temporal",
    )


def _by_user(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Rows grouped by user in their order, i64[N], and the number of events of each user, i64[U]."""
    order = np.argsort(interactions.user, kind="stable")
    return order, np.bincount(interactions.user, minlength=interactions.n_users)


def _histories(interactions: Interactions, rows: np.ndarray) -> Histories:
    """Histories of the given rows, which must be grouped by user."""
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
    first = np.full(histories.n_users, -1, np.int32)
    nonempty = np.diff(histories.offsets) > 0
    first[nonempty] = histories.items[histories.offsets[:-1][nonempty]]
    return first
