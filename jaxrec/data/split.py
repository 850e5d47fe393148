"""Which events train, which select and which test. What learns is handed `Split.train`, without any held-out event."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from jaxrec.keys import generator
from jaxrec.types import Histories, Interactions, Split

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
