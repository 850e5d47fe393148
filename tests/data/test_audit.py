"""Counts and ties by hand; the leak meter against planted leaks, loops and the ids that META ID released."""

import dataclasses
import gzip
import pathlib
import re

import numpy as np
import pytest

from jaxrec.config import DataConfig, WorldConfig
from jaxrec.data import synthetic
from jaxrec.data.attributes import attributes_of
from jaxrec.data.audit import audit_interactions, leak_meter
from jaxrec.data.load import load_interactions
from jaxrec.data.split import make_split
from jaxrec.types import Histories, Interactions, Split, join_histories

DAY = 86_400


def world(user: list[int], item: list[int], time: list[int] | None, rating: list[float] | None = None) -> Interactions:
    return Interactions(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        user_names=np.array([f"u{u}" for u in range(max(user) + 1)], dtype=object),
        item_names=np.array([f"i{i}" for i in range(max(item) + 1)], dtype=object),
        rating=None if rating is None else np.array(rating, np.float32),
        time=None if time is None else np.array(time, np.int64),
    )


def test_audit_by_hand() -> None:
    time = [0, 10, DAY + 5, DAY, DAY, 3 * DAY, 3 * DAY + 1]
    audit = audit_interactions(world([0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 0, 1, 2, 3], time, [5, 5, 1, 2, 5, 5, 5]))
    assert (audit.users, audit.items, audit.events) == (2, 4, 7)
    assert (audit.shortest, audit.median, audit.longest) == (3, 3.5, 4)
    assert (audit.rarest, audit.usual, audit.commonest) == (1, 2, 2)
    assert audit.ratings == {1.0: 1, 2.0: 1, 5.0: 5}
    assert (audit.first, audit.last) == ("1970-01-01", "1970-01-04")
    assert audit.ordered is True
    assert audit.same_time == pytest.approx(1 / 5)
    assert audit.same_day == pytest.approx(3 / 5)
    assert audit.same_day_ends == pytest.approx(1 / 2)
    assert "20.0% of neighbouring events share their time, 60.0% their day" in str(audit)


def test_audit_counts_attributes() -> None:
    events = world([0, 0, 0], [0, 1, 2], None)
    assert "attributes" not in str(audit_interactions(events))
    attributes = attributes_of({"genre": [["a", "b"], [], ["a"]], "brand": [["x"], [], []]})
    audit = audit_interactions(dataclasses.replace(events, item_attributes=attributes))
    assert audit.attributes == {"genre": 2, "brand": 1}
    assert (audit.values, audit.bare) == (pytest.approx(4 / 3), 1)
    assert "attributes: genre: 2 values  brand: 1 values   1.3 of an item, 1 items have none" in str(audit)


def test_audit_sees_broken_order_and_missing_times() -> None:
    broken = audit_interactions(world([0, 0, 1, 1], [0, 1, 2, 3], [5, 4, 1, 2]))
    assert broken.ordered is False
    assert "BROKEN" in str(broken)
    blind = audit_interactions(world([0, 0, 1, 1], [0, 1, 2, 3], None))
    assert blind.ordered is blind.same_day is blind.ratings is None
    assert "there are no times" in str(blind)


def everything(split: Split) -> Histories:
    """What ids must not be made from: training, validation and test events."""
    after = Histories(np.arange(split.train.n_users + 1), split.test, split.train.n_items)
    return join_histories(split.history("test"), after)


def favourite(histories: Histories, item_clusters: np.ndarray) -> np.ndarray:
    """A user's cluster is the most frequent one of the given items, the lowest of equals; a loop."""
    return np.array([np.bincount(item_clusters[histories.of(u)]).argmax() for u in range(histories.n_users)])


@pytest.fixture(scope="module")
def split() -> Split:
    return make_split(synthetic.generate_world(WorldConfig(), seed=0))


@pytest.fixture(scope="module")
def clusters(split: Split) -> np.ndarray:
    """The planted clusters, cut in three so that tastes are not too plain."""
    world = synthetic.generate_world(WorldConfig(), seed=0)
    things = np.unique([str(title).split()[1] for title in world.titles()], return_inverse=True)[1]
    return 3 * things + np.random.default_rng(0).integers(3, size=len(things))


def test_rates_equal_loops(split: Split, clusters: np.ndarray) -> None:
    users = favourite(split.train, clusters)
    meter = leak_meter(split, users, clusters)
    n = split.train.n_users
    hits, lonely, lonely_hits = 0, 0, 0
    for u in range(n):
        cluster = clusters[split.test[u]]
        hits += users[u] == cluster
        if (clusters[split.train.of(u)] == cluster).sum() <= 1:
            lonely += 1
            lonely_hits += users[u] == cluster
    chance = sum((users == c).mean() * (clusters[split.test] == c).mean() for c in range(users.max() + 1))
    assert meter.test.rate == pytest.approx(hits / n)
    assert meter.test.chance == pytest.approx(chance)
    assert meter.test.lonely_users == lonely
    assert meter.test.lonely_rate == pytest.approx(lonely_hits / lonely)
    last = np.mean([users[u] == clusters[split.train.of(u)[-1]] for u in range(n)])
    assert meter.train.rate == pytest.approx(last)


def test_honest_ids_pass_and_leaking_ids_do_not(split: Split, clusters: np.ndarray) -> None:
    honest = leak_meter(split, favourite(split.train, clusters), clusters)
    assert honest.test.rate > 3 * honest.test.chance  # users stay true to their tastes, which is no leak
    assert (honest.leaked, honest.test.leaked, honest.valid.leaked) == (False, False, False)
    assert "not leaked" in str(honest)
    leaking = leak_meter(split, favourite(everything(split), clusters), clusters)
    assert (leaking.leaked, leaking.test.leaked, leaking.valid.leaked) == (True, True, True)
    assert "LEAKED" in str(leaking)


def test_a_leak_of_the_validation_item_alone_is_seen(split: Split, clusters: np.ndarray) -> None:
    meter = leak_meter(split, favourite(split.history("test"), clusters), clusters)
    assert (meter.leaked, meter.valid.leaked, meter.test.leaked) == (True, True, False)


def test_random_ids_are_not_judged(split: Split) -> None:
    random = np.random.default_rng(0)
    users, items = random.integers(40, size=split.train.n_users), random.integers(40, size=split.train.n_items)
    meter = leak_meter(split, users, items)
    assert meter.test.rate == pytest.approx(1 / 40, abs=0.015)
    assert meter.leaked is None


def test_ids_that_hardly_follow_the_training_items_are_not_judged(split: Split, clusters: np.ndarray) -> None:
    """Embeddings that were hardly trained say so little that honest ones would look as bad as leaking ones."""
    random = np.random.default_rng(0)
    honest = favourite(split.train, clusters)
    weak = np.where(random.random(len(honest)) < 0.1, honest, random.integers(clusters.max() + 1, size=len(honest)))
    meter = leak_meter(split, weak, clusters)
    assert meter.train.rate > 2 * meter.train.chance
    assert meter.leaked is None


def test_too_few_cases_are_not_judged() -> None:
    split = make_split(world([0, 0, 0, 1, 1, 1], [0, 1, 2, 2, 1, 0], None))
    meter = leak_meter(split, np.array([0, 1]), np.array([0, 1, 0]))
    assert meter.leaked is None
    assert "can't tell" in str(meter)


def test_entities_without_a_cluster_or_target_are_left_out() -> None:
    split = make_split(world([0, 0, 0, 1, 1, 1], [0, 1, 2, 2, 1, 0], None))
    meter = leak_meter(split, np.array([0, -1]), np.array([0, 1, 0]))
    assert meter.test.rate == 1.0
    assert np.isnan(leak_meter(split, np.array([-1, -1]), np.array([0, 1, 0])).test.rate)


def test_wrong_sizes_are_refused(split: Split) -> None:
    with pytest.raises(ValueError, match=r"user_clusters has shape \(3,\), and the split has 2000 users"):
        leak_meter(split, np.zeros(3, np.int32), np.zeros(split.train.n_items, np.int32))


def test_the_released_beauty_ids_are_called_leaked(real_data: pathlib.Path) -> None:
    """The three rates are those of the data folder's README."""
    folder = real_data / "amazon-beauty"
    world, _ = load_interactions(DataConfig(path=str(folder / "user_sequence.txt.gz")), seed=0)

    def released(kind: str, names: np.ndarray) -> np.ndarray:
        text = gzip.decompress((folder / f"meta_id_released_{kind}.txt.gz").read_bytes()).decode()
        cluster = {name: int(number) for name, number in re.findall(r"^(\S+) <CT(\d+)>", text, re.MULTILINE)}
        return np.array([cluster[name] for name in names], np.int32)

    users, items = released("users", world.user_names), released("items", world.item_names)
    split = make_split(world)
    meter = leak_meter(split, users, items)
    assert meter.test.rate == pytest.approx(0.280, abs=0.0005)
    assert meter.valid.rate == pytest.approx(0.305, abs=0.0005)
    assert meter.train.rate == pytest.approx(0.315, abs=0.0005)
    assert meter.test.chance == pytest.approx(0.01, abs=0.005)
    assert (meter.leaked, meter.test.leaked, meter.valid.leaked) == (True, True, True)
    # the same item clusters with user clusters from training items alone show a steady taste and no leak
    assert leak_meter(split, favourite(split.train, items), items).test.lonely_rate < meter.test.lonely_rate
