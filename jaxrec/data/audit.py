"""Audit of a data set (counts, order, ties), and a test for leaks of held-out items into cluster ids."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxrec.types import Histories, Interactions, Split

DAY = 86_400
LEAK_RATIO = 0.25
LEAK_DEVIATIONS = 2.0
FEWEST_MATCHES = 20
FEWEST_CHANCES = 5.0


@dataclasses.dataclass(frozen=True)
class Audit:
    """Counts and order of a set of events; printable.

    Attributes:
      users, items, events: their numbers.
      shortest, median, longest: minimum, median and maximum of events per user.
      rarest, usual, commonest: minimum, median and maximum of events per item.
      ratings: count of each rating value, or None without ratings.
      first, last: ISO dates of the oldest and newest event, or None without times.
      ordered: whether each user's rows are in time order; None without times.
      same_time: share of consecutive events of a user with the same time; None without times.
      same_day: share of consecutive events of a user on the same day (UTC); None without times.
      same_day_ends: share of users whose last two events fall on the same day; None without times.
      attributes: number of different values of each attribute of items, or None without attributes.
      values: mean number of values of an item.
      bare: items without a value.
    """

    users: int
    items: int
    events: int
    shortest: int
    median: float
    longest: int
    rarest: int
    usual: float
    commonest: int
    ratings: dict[float, int] | None
    first: str | None
    last: str | None
    ordered: bool | None
    same_time: float | None
    same_day: float | None
    same_day_ends: float | None
    attributes: dict[str, int] | None = None
    values: float = 0.0
    bare: int = 0

    def __str__(self) -> str:
        density = self.events / (self.users * self.items)
        lines = [
            f"users {self.users:,}   items {self.items:,}   events {self.events:,}   density {density:.4%}",
            f"events of a user: {self.shortest} to {self.longest}, median {self.median:g}",
            f"events of an item: {self.rarest} to {self.commonest}, median {self.usual:g}",
        ]
        if self.ratings is None:
            lines.append("ratings: none")
        else:
            lines.append("ratings: " + "  ".join(f"{value:g}: {count:,}" for value, count in self.ratings.items()))
        if self.attributes is not None:
            fields = "  ".join(f"{name}: {count:,} values" for name, count in self.attributes.items())
            lines.append(f"attributes: {fields}   {self.values:.1f} of an item, {self.bare:,} items have none")
        if self.same_day is None:
            lines.append("order: the file's own; there are no times, so ties can't be seen")
        else:
            order = (
                "each user's events stand in time order" if self.ordered else "BROKEN, a user's events go back in time"
            )
            lines.append(f"order: {order}, {self.first} to {self.last}")
            lines.append(
                f"ties: {self.same_time:.1%} of neighbouring events share their time, {self.same_day:.1%} their day;"
                f" the last two of a user, which select and test, share the day for {self.same_day_ends:.1%} of users"
            )
        return "\n".join(lines)


def audit_interactions(interactions: Interactions) -> Audit:
    """Counts users, items, events and ratings, and checks the order and ties of each user's events."""
    by_user = np.argsort(interactions.user, kind="stable")
    user = interactions.user[by_user]
    per_user = np.bincount(user, minlength=interactions.n_users)
    per_item = np.bincount(interactions.item, minlength=interactions.n_items)
    ratings = None
    if interactions.rating is not None:
        values, counts = np.unique(interactions.rating, return_counts=True)
        ratings = {float(v): int(c) for v, c in zip(values, counts, strict=True)}
    attributes = interactions.item_attributes
    per_field, n_values = None, np.zeros(0)
    if attributes is not None:
        counts = np.bincount(attributes.field, minlength=len(attributes.fields)).tolist()
        per_field, n_values = dict(zip(attributes.fields, counts, strict=True)), np.diff(attributes.offsets)
    first = last = ordered = same_time = same_day = same_day_ends = None
    if interactions.time is not None:
        time = interactions.time[by_user]
        first, last = (str(np.datetime64(int(t), "s").astype("datetime64[D]")) for t in (time.min(), time.max()))
        neighbours = user[1:] == user[:-1]
        one_day = (np.diff(time // DAY) == 0) & neighbours
        ordered = bool((np.diff(time)[neighbours] >= 0).all())
        same_time = float(((np.diff(time) == 0) & neighbours).sum() / max(neighbours.sum(), 1))
        same_day = float(one_day.sum() / max(neighbours.sum(), 1))
        ends = np.cumsum(per_user)[per_user >= 2] - 2  # index of the pair of a user's last two events
        same_day_ends = float(one_day[ends].mean()) if len(ends) else 0.0
    return Audit(
        users=interactions.n_users,
        items=interactions.n_items,
        events=interactions.n_events,
        shortest=int(per_user.min()),
        median=float(np.median(per_user)),
        longest=int(per_user.max()),
        rarest=int(per_item.min()),
        usual=float(np.median(per_item)),
        commonest=int(per_item.max()),
        ratings=ratings,
        first=first,
        last=last,
        ordered=ordered,
        same_time=same_time,
        same_day=same_day,
        same_day_ends=same_day_ends,
        attributes=per_field,
        values=float(n_values.mean()) if len(n_values) else 0.0,
        bare=int((n_values == 0).sum()),
    )


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How often a user's cluster equals the cluster of one item of theirs (test, validation or last training item).

    Attributes:
      rate: share of users whose cluster is that of the item.
      chance: expected share if users and items were independent, sum over c of P(user in c) P(item in c).
      lonely_rate: rate among lonely users, those with at most one other training item in the item's cluster.
      lonely_train: the rate of the last training items among lonely users, weighted to the same mix of 0 and 1 others.
      lonely_users: number of lonely users.
      leaked: whether the item was used when the ids were made; None where there are too few cases to decide.
    """

    rate: float
    chance: float
    lonely_rate: float
    lonely_train: float
    lonely_users: int
    leaked: bool | None


@dataclasses.dataclass(frozen=True)
class LeakMeter:
    """Agreement of users' clusters with their test, validation and last training item; printable.

    The plain rates cannot tell a leak from a consistent taste: where tastes are strong, a held-out item lies in the
    user's cluster nearly as often as a training item. So the test uses lonely users, who have at most one other
    training item in the item's cluster: only the item itself can have put such a user into that cluster. Among them,
    ids made from training events alone agree with the last training item, which was used, and rarely with the test
    item. An item counts as leaked when its lonely rate exceeds a quarter of the last training item's by two standard
    errors: ids made from training events alone (skip-gram or SVD; Beauty and the generated world) stayed below 0.2 of
    it, ids made with the test items reached 0.35 to 0.8. There is no verdict where the ids hardly follow the training
    items: fewer than 20 lonely users agree with their last one, or all users less than five times as often as chance.
    """

    test: Agreement
    valid: Agreement
    train: Agreement

    @property
    def leaked(self) -> bool | None:
        """True if the test or validation item leaked, False if neither did, None if that is undecided."""
        verdicts = (self.test.leaked, self.valid.leaked)
        if True in verdicts:
            return True
        return None if None in verdicts else False

    def __str__(self) -> str:
        lines = ["a user's cluster token is that of their   users   chance   lonely users   as the last training item"]
        for name, part in (
            ("test item", self.test),
            ("validation item", self.valid),
            ("last training item", self.train),
        ):
            lines.append(
                f"  {name:<38}{part.rate:>7.1%}{part.chance:>9.1%}{part.lonely_rate:>15.1%}{part.lonely_train:>29.1%}"
            )
        lines.append(
            f"lonely: at most one other training item in the item's cluster; leaked: a lonely rate above {LEAK_RATIO:g}"
            f" times that of the last training item by {LEAK_DEVIATIONS:g} standard errors"
        )
        verdict = {
            True: "LEAKED: held-out items were in view when these ids were made",
            False: "not leaked: nothing shows that held-out items were in view",
            None: "can't tell: the ids hardly follow even the last training items"
            f" (fewer than {FEWEST_MATCHES} lonely users do, or all less than {FEWEST_CHANCES:g} times chance)",
        }[self.leaked]
        return "\n".join([*lines, f"verdict: {verdict}"])


def leak_meter(split: Split, user_clusters: np.ndarray, item_clusters: np.ndarray) -> LeakMeter:
    """Tests whether cluster tokens were made from held-out items; `LeakMeter` describes the rule.

    Args:
      split: the split whose held-out items should not have been used.
      user_clusters: cluster of each user, i32[U], -1 = none; static ids, the same in training and test.
      item_clusters: cluster of each item, i32[I], -1 = none.

    Raises:
      ValueError: the clusters are not one per user and one per item.
    """
    train = split.train
    for name, clusters, size in (("user", user_clusters, train.n_users), ("item", item_clusters, train.n_items)):
        if clusters.shape != (size,):
            raise ValueError(f"{name}_clusters has shape {clusters.shape}, and the split has {size} {name}s")
    last = np.full(train.n_users, -1, np.int32)
    nonempty = np.diff(train.offsets) > 0
    last[nonempty] = train.items[train.offsets[1:][nonempty] - 1]
    train_cases = _Cases(train, user_clusters, item_clusters, last, itself=1)
    parts = [
        _agreement(_Cases(train, user_clusters, item_clusters, target, itself=itself), train_cases)
        for target, itself in ((split.test, 0), (split.valid, 0), (last, 1))
    ]
    return LeakMeter(test=parts[0], valid=parts[1], train=dataclasses.replace(parts[2], leaked=None))


class _Cases:
    """Users paired with one item each: whether their clusters agree, and how many other training items lie in it."""

    def __init__(
        self, train: Histories, user_clusters: np.ndarray, item_clusters: np.ndarray, item: np.ndarray, itself: int
    ) -> None:
        cluster = np.where(item >= 0, item_clusters[item], -1)
        in_cluster = item_clusters[train.items] == cluster[train.users]
        others = np.bincount(train.users[in_cluster], minlength=train.n_users) - itself
        valid = (cluster >= 0) & (user_clusters >= 0) & (np.diff(train.offsets) > 0)
        self.user_cluster, self.cluster = user_clusters[valid], cluster[valid]
        self.agree = self.user_cluster == self.cluster
        self.others = others[valid]


def _agreement(cases: _Cases, train_cases: _Cases) -> Agreement:
    if not len(cases.agree):
        return Agreement(np.nan, np.nan, np.nan, np.nan, 0, None)
    rate = train_rate = variance = matches = 0.0
    lonely = sum(int((cases.others == k).sum()) for k in (0, 1) if (train_cases.others == k).any())
    for k in (0, 1):
        agree, train_agree = cases.agree[cases.others == k], train_cases.agree[train_cases.others == k]
        if len(agree) and len(train_agree):
            weight, p, train_p = len(agree) / lonely, agree.mean(), train_agree.mean()
            rate += weight * p
            train_rate += weight * train_p
            variance += weight**2 * (
                p * (1 - p) / len(agree) + LEAK_RATIO**2 * train_p * (1 - train_p) / len(train_agree)
            )
            matches += train_agree.sum()
    leaked = None
    if matches >= FEWEST_MATCHES and train_cases.agree.mean() >= FEWEST_CHANCES * _chance(train_cases):
        leaked = bool(rate - LEAK_RATIO * train_rate > LEAK_DEVIATIONS * np.sqrt(variance))
    return Agreement(float(cases.agree.mean()), _chance(cases), float(rate), float(train_rate), lonely, leaked)


def _chance(cases: _Cases) -> float:
    """How often the clusters of users and items agree when they are paired at random."""
    size = int(max(cases.user_cluster.max(), cases.cluster.max())) + 1
    users = np.bincount(cases.user_cluster, minlength=size) / len(cases.agree)
    items = np.bincount(cases.cluster, minlength=size) / len(cases.agree)
    return float(users @ items)
