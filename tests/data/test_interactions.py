"""Numbers, order, repeats, k-core and their counts, by hand and against loops."""

import collections

import numpy as np
import polars as pl
import pytest

from jaxrec.data.interactions import Notes, assemble_interactions, keep_frequent, with_titles
from jaxrec.types import DataError, Interactions


def events(rows: list[tuple], columns: str = "user item time") -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns.split(), orient="row")


def named(interactions: Interactions) -> list[tuple[str, str]]:
    users, items = interactions.user_names[interactions.user], interactions.item_names[interactions.item]
    return list(zip(users, items, strict=True))


def by_user(interactions: Interactions) -> dict[str, list[str]]:
    items = collections.defaultdict(list)
    for user, item in named(interactions):
        items[user].append(item)
    return dict(items)


def test_time_gives_the_order() -> None:
    frame = events([("A", "z", 3000), ("B", "y", 5000), ("A", "x", 1500), ("A", "y", 2000)])
    world, notes = assemble_interactions(frame, seed=0, source="here")
    assert by_user(world) == {"A": ["x", "y", "z"], "B": ["y"]}
    assert sorted(world.time.tolist()) == [1, 2, 3, 5]
    assert (world.user.dtype, world.item.dtype, world.time.dtype) == (np.int32, np.int32, np.int64)
    assert notes == Notes("here", read=4)
    assert notes.warnings() == []


def test_without_times_the_lines_give_the_order() -> None:
    world, notes = assemble_interactions(
        events([("A", "z"), ("B", "y"), ("A", "x")], "user item"), seed=0, source="here"
    )
    assert by_user(world) == {"A": ["z", "x"], "B": ["y"]}
    assert world.time is None
    assert str(notes) == "here: 3 events read, ordered by the lines of the file"


def test_milliseconds_order_events_of_one_second() -> None:
    world, notes = assemble_interactions(
        events([("A", "x", 1999), ("A", "y", 1001), ("A", "z", 1500)]), seed=0, source="here"
    )
    assert by_user(world) == {"A": ["y", "z", "x"]}
    assert world.time.tolist() == [1, 1, 1]
    assert notes.tied == 0


def test_ties_are_shuffled_by_the_seed_and_counted() -> None:
    frame = events([("A", f"i{i}", 0) for i in range(30)] + [("A", "last", 9)])
    orders = [by_user(assemble_interactions(frame, seed=seed, source="here")[0])["A"] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:30] != sorted(orders[0][:30])
    assert {order[-1] for order in orders} == {"last"}
    assert assemble_interactions(frame, seed=0, source="here")[1].tied == 30


def test_repeats_are_no_ties() -> None:
    rows = [("A", "x", 1000), ("A", "x", 1000), ("A", "y", 2000), ("B", "x", 1000), ("B", "y", 1000), ("B", "y", 1000)]
    _, notes = assemble_interactions(events(rows), seed=0, source="here")
    assert (notes.read, notes.repeats, notes.tied) == (6, 2, 2)


def test_ties_over_many_seeds_favour_no_place() -> None:
    frame = events([("A", f"i{i}", 0) for i in range(4)])
    last = collections.Counter(
        by_user(assemble_interactions(frame, seed=seed, source="here")[0])["A"][-1] for seed in range(400)
    )
    assert min(last.values()) > 60  # 100 expected of each, 60 is more than four deviations below


def test_repeats_keep_the_first_in_time() -> None:
    rows = [("A", "x", 5000, 1.0), ("A", "y", 3000, 2.0), ("A", "x", 1000, 3.0), ("A", "x", 9000, 4.0)]
    world, notes = assemble_interactions(events(rows, "user item time rating"), seed=0, source="here")
    assert by_user(world) == {"A": ["x", "y"]}
    assert world.rating.tolist() == [3.0, 2.0]
    assert world.rating.dtype == np.float32
    assert notes.repeats == 2
    assert notes.warnings() == ["2 events repeat a user's item; the first of each was kept"]


def test_columns_stay_with_their_events() -> None:
    random = np.random.default_rng(0)
    rows = [
        (f"u{random.integers(20)}", f"i{n}", int(random.integers(10**6)), float(n), f"review {n}") for n in range(200)
    ]
    world, _ = assemble_interactions(events(rows, "user item time rating review"), seed=0, source="here")
    for (user, item), rating, review in zip(named(world), world.rating, world.text["review"], strict=True):
        n = int(item[1:])
        assert (user, rating, review) == (rows[n][0], n, f"review {n}")


def test_numbers_depend_on_names_alone() -> None:
    names = [f"i{n}" for n in range(50)]
    forth, _ = assemble_interactions(events([("A", name, n) for n, name in enumerate(names)]), seed=0, source="here")
    back, _ = assemble_interactions(events([("A", name, -n) for n, name in enumerate(names)]), seed=5, source="here")
    np.testing.assert_array_equal(forth.item_names, back.item_names)
    some, _ = assemble_interactions(events([("A", name, 0) for name in names[:20]]), seed=0, source="here")
    assert [name for name in forth.item_names if name in set(names[:20])] == some.item_names.tolist()
    assert abs(np.corrcoef(np.arange(50), forth.item)[0, 1]) < 0.4  # in time order here: no trend


def k_core_loop(pairs: list[tuple[str, str]], least_user: int, least_item: int) -> list[tuple[str, str]]:
    while True:
        users, items = collections.Counter(u for u, _ in pairs), collections.Counter(i for _, i in pairs)
        left = [(u, i) for u, i in pairs if users[u] >= least_user and items[i] >= least_item]
        if left == pairs:
            return left
        pairs = left


@pytest.mark.parametrize(("k_core", "min_events"), [(0, 1), (0, 3), (2, 3), (3, 3), (4, 1)])
def test_k_core_equals_a_loop(k_core: int, min_events: int) -> None:
    random = np.random.default_rng(1)
    pairs = {(f"u{int(random.zipf(1.5) % 40)}", f"i{int(random.zipf(1.4) % 60)}") for _ in range(600)}
    world, notes = assemble_interactions(events(sorted(pairs), "user item"), seed=0, source="here")
    kept, notes = keep_frequent(world, notes, k_core=k_core, min_events=min_events)
    expected = k_core_loop(named(world), max(k_core, min_events), k_core)
    assert named(kept) == expected
    assert kept.n_users == len({u for u, _ in expected})
    assert kept.n_items == len({i for _, i in expected})
    assert notes.events == world.n_events - len(expected)
    assert notes.users == world.n_users - kept.n_users
    assert bool(notes.warnings()) == (notes.users + notes.items > 0)


def test_dropped_users_are_told() -> None:
    rows = [("A", "x"), ("A", "y"), ("A", "z"), ("B", "x"), ("B", "w")]
    world, notes = assemble_interactions(events(rows, "user item"), seed=0, source="here")
    kept, notes = keep_frequent(world, notes, k_core=0, min_events=3)
    assert by_user(kept) == {"A": ["x", "y", "z"]}
    assert notes.warnings() == ["users with fewer than 3 events were dropped: 1 users, 1 items, 2 events"]


def test_nothing_left_is_an_error() -> None:
    world, notes = assemble_interactions(events([("A", "x"), ("B", "y")], "user item"), seed=0, source="here")
    with pytest.raises(ValueError, match=r"here: no event is left of 2 when users need 3 .* lower --data.k-core"):
        keep_frequent(world, notes, k_core=0, min_events=3)


def test_nothing_left_of_a_single_item_says_why() -> None:
    world, notes = assemble_interactions(events([("A", "x")] * 6 + [("B", "x")], "user item"), seed=0, source="here")
    with pytest.raises(DataError) as caught:
        keep_frequent(world, notes, k_core=0, min_events=3)
    assert str(caught.value).startswith(
        "here: no event is left of 2 (5 more repeat a user's item and don't count) when users need 3 events and"
        " items 0; the longest history has 1 different items"
    )


def test_titles_fall_back_on_names() -> None:
    world, notes = assemble_interactions(events([("A", "x"), ("A", "y")], "user item"), seed=0, source="here")
    titled, notes = with_titles(world, notes, {"x": "The X", "q": "none of ours"})
    assert dict(zip(titled.item_names, titled.titles(), strict=True)) == {"x": "The X", "y": "y"}
    assert notes.warnings() == ["1 items have no title and go by their name"]
    kept, _ = keep_frequent(titled, notes, k_core=0, min_events=1)
    np.testing.assert_array_equal(kept.titles(), titled.titles())
