"""Splits by hand, and the promise that training holds no held-out event."""

import dataclasses

import numpy as np
import pytest

from jaxrec.data.split import (
    hold_unseen,
    make_split,
    split_events,
    training_events_alone,
    withheld_events,
    without_ratings,
)
from jaxrec.types import Interactions


def world(user: list[int], item: list[int], time: list[int] | None = None) -> Interactions:
    return Interactions(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        user_names=np.array([f"u{u}" for u in range(max(user) + 1)], dtype=object),
        item_names=np.array([f"i{i}" for i in range(max(item) + 1)], dtype=object),
        rating=np.arange(len(user), dtype=np.float32),
        time=None if time is None else np.array(time, np.int64),
    )


def test_strict_by_hand() -> None:
    split = make_split(world([0, 0, 0, 0, 1, 1, 1], [5, 2, 7, 1, 3, 4, 0]))
    assert split.protocol == "strict"
    assert split.train.offsets.tolist() == [0, 2, 3]
    assert split.train.items.tolist() == [5, 2, 3]
    assert split.train.n_items == 8
    assert split.train.ratings is not None
    assert split.train.ratings.tolist() == [0, 1, 4]
    assert split.valid.tolist() == [7, 4]
    assert split.test.tolist() == [1, 0]
    assert split.history("test").of(0).tolist() == [5, 2, 7]
    assert split.history("valid").of(0).tolist() == [5, 2]
    dtypes = [a.dtype for a in (split.train.offsets, split.train.items, split.valid, split.test)]
    assert dtypes == [np.int64, np.int32, np.int32, np.int32]


def test_strict_takes_rows_of_users_in_any_arrangement() -> None:
    split = make_split(world([1, 0, 1, 0, 0, 1], [0, 1, 2, 3, 4, 5]))
    assert split.train.items.tolist() == [1, 0]
    assert split.valid.tolist() == [3, 2]
    assert split.test.tolist() == [4, 5]


def test_strict_equals_a_loop_and_puts_every_event_in_one_place() -> None:
    random = np.random.default_rng(0)
    user = np.repeat(np.arange(40), random.integers(3, 12, size=40)).astype(np.int32)
    random.shuffle(user)
    item = random.integers(0, 30, size=len(user))
    split = make_split(world(user.tolist(), item.tolist()))
    for u in range(40):
        mine = item[user == u]
        assert split.train.of(u).tolist() == mine[:-2].tolist()
        assert (split.valid[u], split.test[u]) == (mine[-2], mine[-1])
    assert split.train.n_events + 2 * 40 == len(user)


def test_strict_refuses_short_users() -> None:
    with pytest.raises(ValueError, match=r"3 events.*1 users have fewer, for instance 'u1'"):
        make_split(world([0, 0, 0, 1, 1], [0, 1, 2, 0, 1]))


def test_temporal_by_hand() -> None:
    # ten events, cuts at the ninth (t=80) and the tenth (t=90); user 2 has no training event
    split = make_split(
        world([0, 0, 0, 0, 1, 1, 1, 1, 0, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]),
        "temporal",
    )
    assert split.protocol == "temporal"
    assert split.train.n_events == 8
    assert split.valid.tolist() == [8, -1, -1]
    assert split.test.tolist() == [-1, -1, -1]  # user 2 is unknown to training
    assert split.between.items.tolist() == [8]
    assert split.history("test").of(0).tolist() == [0, 1, 2, 3, 8]


def test_temporal_training_is_older_than_every_target() -> None:
    random = np.random.default_rng(1)
    n = 500
    user = np.sort(random.integers(0, 30, size=n))
    time = random.integers(0, 10_000, size=n)
    order = np.lexsort((time, user))
    item = np.arange(n)  # an event is its item
    split = make_split(world(user.tolist(), item.tolist(), time[order].tolist()), "temporal")
    when = time[order]
    newest_training = when[split.train.items].max()
    valid, test = split.valid[split.valid >= 0], split.test[split.test >= 0]
    assert newest_training < when[split.between.items].min()
    assert when[split.between.items].max() < when[test].min()
    for u in np.flatnonzero(split.valid >= 0):
        assert split.valid[u] == split.between.of(int(u))[0]
    assert len(valid)
    assert len(test)
    assert split.train.n_events / n == pytest.approx(0.8, abs=0.01)


def test_temporal_needs_times_that_differ() -> None:
    with pytest.raises(ValueError, match="needs times"):
        make_split(world([0, 0, 0], [0, 1, 2]), "temporal")
    with pytest.raises(ValueError, match="too coarse"):
        make_split(world([0, 0, 0], [0, 1, 2], [5, 5, 5]), "temporal")


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="random"):
        make_split(world([0, 0, 0], [0, 1, 2]), "random")  # type: ignore[arg-type]


def test_unseen_users_and_items_leave_training_and_are_known_when_asked() -> None:
    draw = np.random.default_rng(0)
    counts = draw.integers(5, 20, 40)
    user = np.repeat(np.arange(40), counts)
    split = make_split(world(user.tolist(), draw.integers(0, 30, len(user)).tolist()))
    held = hold_unseen(split, users=0.1, items=0.2, seed=3)
    assert held.unseen_users.sum() == 4
    assert held.unseen_items.sum() == round(0.2 * len(held.unseen_items))
    sizes = np.diff(split.train.offsets)
    assert sizes[held.unseen_users].max() <= sizes[~held.unseen_users].min()
    assert not held.unseen_items[held.train.items].any()
    for user_number in range(40):
        kept = [i for i in split.train.of(user_number) if not held.unseen_items[i]]
        assert held.train.of(user_number).tolist() == ([] if held.unseen_users[user_number] else kept)
        assert held.history("valid").of(user_number).tolist() == split.train.of(user_number).tolist()
        assert held.history("test").of(user_number).tolist() == split.history("test").of(user_number).tolist()
    assert (held.valid[held.unseen_users] == -1).all()
    assert not held.unseen_items[held.valid[held.valid >= 0]].any()
    np.testing.assert_array_equal(held.test, split.test)
    again = hold_unseen(split, users=0.1, items=0.2, seed=3)
    np.testing.assert_array_equal(again.train.items, held.train.items)


def test_shares_of_unseen_are_checked() -> None:
    split = make_split(world([0, 0, 0, 1, 1, 1], [5, 2, 7, 3, 4, 0]))
    assert hold_unseen(split, users=0, items=0, seed=0) is split
    with pytest.raises(ValueError, match="unseen_users=1 is a share"):
        hold_unseen(split, users=1, items=0, seed=0)


def reviews(seed: int = 0, users: int = 60, items: int = 25) -> Interactions:
    random = np.random.default_rng(seed)
    taken = [random.choice(items, random.integers(4, 12), replace=False) for _ in range(users)]
    return world(np.repeat(np.arange(users), list(map(len, taken))).tolist(), np.concatenate(taken).tolist())


def test_events_are_split_80_10_10_with_everybody_in_training() -> None:
    data = reviews()
    events = split_events(data, seed=3)
    parts = np.concatenate([events.train, events.valid, events.test])
    assert sorted(parts) == list(range(data.n_events))
    assert len(events.valid) == len(events.test) == round(data.n_events / 10)
    assert set(data.user[events.train]) == set(data.user)
    assert set(data.item[events.train]) == set(data.item)
    again, other = split_events(data, seed=3), split_events(data, seed=4)
    np.testing.assert_array_equal(events.test, again.test)
    assert set(events.test) != set(other.test)


def test_few_events_are_shared_between_selecting_and_testing() -> None:
    # Users 0 to 3 have one event each; of user 4's three, two can be drawn.
    events = split_events(world([0, 1, 2, 3, 4, 4, 4], [0, 0, 0, 0, 0, 0, 0]), seed=0)
    assert len(events.valid) == len(events.test) == 1
    assert min(*events.valid, *events.test) >= 4
    with pytest.raises(ValueError, match="can't be split 80/10/10"):
        split_events(world([0, 1, 2], [0, 1, 2]), seed=0)


def test_events_held_back_by_leave_one_out_never_teach() -> None:
    data = reviews()
    split = make_split(data)
    withheld = withheld_events(data, split)
    assert withheld.sum() == 2 * data.n_users
    free, events = split_events(data, seed=3), split_events(data, seed=3, withheld=withheld)
    np.testing.assert_array_equal(free.test, events.test)  # runs with other tasks are measured on the same events
    taught = set(zip(data.user[events.train], data.item[events.train]))
    assert not taught & set(enumerate(split.test))
    assert not taught & set(enumerate(split.valid))
    assert len(events.kept_out) == len(free.train) - len(events.train) > 0
    assert sorted([*events.train, *events.kept_out]) == free.train.tolist()


def test_embedders_do_not_see_how_held_out_events_were_rated() -> None:
    data = reviews()
    data = dataclasses.replace(data, rating=np.full(data.n_events, 5, np.float32))
    events, split = split_events(data, seed=3), make_split(data)
    hidden = without_ratings(split, data, np.concatenate([events.valid, events.test]))
    np.testing.assert_array_equal(hidden.train.items, split.train.items)
    assert hidden.train.ratings is not None
    held = set(zip(data.user[events.valid], data.item[events.valid])) | set(
        zip(data.user[events.test], data.item[events.test])
    )
    for user, item, rating in zip(hidden.train.users, hidden.train.items, hidden.train.ratings):
        np.testing.assert_equal(rating, np.nan if (user, item) in held else 5)


def test_training_events_alone() -> None:
    data = reviews()
    events = split_events(data, seed=3)
    split = training_events_alone(data, events)
    assert split.train.n_events == len(events.train)
    assert (split.test == -1).all()
    assert split.history("test").n_events == len(events.train)
    assert split.protocol == "80/10/10"
    np.testing.assert_array_equal(split.train.items, data.item[events.train])
