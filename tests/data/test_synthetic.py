"""The generated world holds what its docstring plants, at any size, and its shuffled copy holds none of it."""

import dataclasses
import time

import numpy as np
import pytest

from jaxrec.config import WorldConfig
from jaxrec.data import synthetic
from jaxrec.data.split import make_split
from jaxrec.types import Histories, Interactions

WORLD = WorldConfig()


@pytest.fixture(scope="module")
def world() -> Interactions:
    return synthetic.generate_world(WORLD, seed=0)


def hit_rate(interactions: Interactions, score_user) -> float:
    """HR@10 of the test item among unseen items; `score_user(train, history) -> f[I]`, a plain loop over users."""
    split = make_split(interactions)
    train, history, test = split.train, split.history("test"), split.test
    scorer = score_user(train)
    hits = 0.0
    for user in range(train.n_users):
        seen = history.of(user)
        scores = scorer(seen).astype(np.float64)
        target = scores[test[user]]
        scores[seen] = -np.inf
        scores[test[user]] = target
        hits += (scores > target).sum() + ((scores == target).sum() - 1) / 2 < 10
    return hits / train.n_users


def popularity(train: Histories):
    counts = np.bincount(train.items, minlength=train.n_items)
    return lambda seen: counts.copy()


def followers(train: Histories):
    """How often each item came directly after each other one; the newest item alone is asked."""
    counts = np.zeros((train.n_items, train.n_items))
    for user in range(train.n_users):
        items = train.of(user)
        np.add.at(counts, (items[:-1], items[1:]), 1)
    return lambda seen: counts[seen[-1]]


def test_columns(world: Interactions) -> None:
    n = world.n_events
    assert world.user.dtype == world.item.dtype == np.int32
    assert world.rating is not None
    assert world.rating.dtype == np.float32
    assert set(np.unique(world.rating)) == {1, 2, 3, 4, 5}
    assert world.time is not None
    assert world.time.dtype == np.int64
    assert world.text is not None
    assert {name: len(column) for name, column in world.text.items()} == {"review": n, "summary": n}
    assert (world.n_users, world.n_items) == (WORLD.users, WORLD.items)
    assert len(set(world.titles())) == len(set(world.item_names)) == WORLD.items


def test_rows_stand_user_by_user_in_time_order_without_repeats(world: Interactions) -> None:
    assert world.time is not None
    same = world.user[1:] == world.user[:-1]
    assert (np.diff(world.user) >= 0).all()
    assert (np.diff(world.time)[same] >= 0).all()
    assert len(np.unique(world.user.astype(np.int64) * world.n_items + world.item)) == world.n_events


def test_lengths(world: Interactions) -> None:
    counts = np.bincount(world.user)
    assert counts.min() >= 5
    assert abs(counts.mean() - WORLD.events_per_user) < 1


def test_same_seed_same_world_other_seed_other_world() -> None:
    small = WorldConfig(users=50, items=60, tastes=5)
    first, again, other = (synthetic.generate_world(small, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.item, again.item)
    np.testing.assert_array_equal(first.time, again.time)
    assert not np.array_equal(first.item[:100], other.item[:100])


def test_order_beats_popularity_five_times_and_a_shuffled_copy_does_not(world: Interactions) -> None:
    popular = hit_rate(world, popularity)
    assert hit_rate(world, followers) > 5 * popular
    copy = synthetic.shuffled_world(world, seed=0)
    popular, standard_error = hit_rate(copy, popularity), np.sqrt(0.06 / WORLD.users)
    assert hit_rate(copy, followers) < popular + 2 * standard_error


def test_shuffled_keeps_every_count(world: Interactions) -> None:
    copy = synthetic.shuffled_world(world, seed=0)
    np.testing.assert_array_equal(np.bincount(copy.user), np.bincount(world.user))
    np.testing.assert_array_equal(np.bincount(copy.item), np.bincount(world.item))
    assert (copy.item == world.item).mean() < 0.05


def test_without_drift_the_order_is_gone(world: Interactions) -> None:
    still = synthetic.generate_world(dataclasses.replace(WORLD, drift=0.0), seed=0)
    assert hit_rate(still, followers) < 0.5 * hit_rate(world, followers)


def test_popularity_exponent_skews(world: Interactions) -> None:
    def top_tenth(interactions: Interactions) -> float:
        counts = np.sort(np.bincount(interactions.item, minlength=WORLD.items))[::-1]
        return counts[: WORLD.items // 10].sum() / counts.sum()

    flat = synthetic.generate_world(dataclasses.replace(WORLD, popularity=0.0), seed=0)
    assert top_tenth(world) > 1.2 * top_tenth(flat)


def test_ratings_follow_the_tastes(world: Interactions) -> None:
    """An event whose cluster (read from the title) is the user's most frequent one gets more stars."""
    assert world.rating is not None
    things, cluster = np.unique([t.split()[1] for t in world.titles()], return_inverse=True)
    table = np.zeros((world.n_users, len(things)), np.int64)
    np.add.at(table, (world.user, cluster[world.item]), 1)
    favourite = table.argmax(axis=1)[world.user] == cluster[world.item]
    assert world.rating[favourite].mean() > world.rating[~favourite].mean() + 0.3


def test_reviews_name_the_thing_and_follow_the_stars(world: Interactions) -> None:
    assert world.text is not None
    assert world.rating is not None
    for row in range(0, world.n_events, 997):
        thing = str(world.titles()[world.item[row]]).split()[1].lower()
        assert thing in world.text["review"][row]
        assert world.text["review"][row].startswith(world.text["summary"][row])
    loved = {s for s, r in zip(world.text["summary"], world.rating, strict=True) if r == 5}
    hated = {s for s, r in zip(world.text["summary"], world.rating, strict=True) if r == 1}
    assert not loved & hated


def test_a_million_events_take_seconds() -> None:
    start = time.perf_counter()
    big = synthetic.generate_world(WorldConfig(users=65_000, items=5_000, tastes=100), seed=0)
    assert big.n_events > 1_000_000
    assert time.perf_counter() - start < 30  # about one second on an idle core


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"items": 20}, "fewer than 2 items each"),
        ({"tastes": 2}, "tastes=2 is below 3"),
        ({"events_per_user": 4.0}, "outside 5"),
        ({"events_per_user": 301.0}, "outside 5"),
        ({"drift": 1.5}, "not a probability"),
        ({"popularity": -1.0}, "negative"),
        ({"users": 0}, "below 1"),
    ],
)
def test_impossible_worlds_are_refused(change: dict, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        synthetic.generate_world(dataclasses.replace(WORLD, **change), seed=0)


def test_crowded_world_still_has_no_repeats() -> None:
    """Users who use up a whole circle go on elsewhere."""
    crowded = synthetic.generate_world(WorldConfig(users=200, items=12, tastes=3, events_per_user=6.0), seed=0)
    pairs = crowded.user.astype(np.int64) * 12 + crowded.item
    assert len(np.unique(pairs)) == crowded.n_events
