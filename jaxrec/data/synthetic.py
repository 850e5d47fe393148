"""Synthetic interactions with planted structure: tastes, item order, popularity skew, ratings, times and reviews.

Every item belongs to one cluster, whose items form a circle with a few shortcuts. A user likes three clusters. With
probability `drift` the next event follows the last one along the circle or a shortcut, otherwise it jumps to an item
of a liked cluster. So HR@10 at the default sizes is near 0.05 for popularity, near 0.4 for item-kNN, which finds the
tastes, and near 0.75 for sequential methods, which also use the order.
"""

from __future__ import annotations

import numpy as np

from jaxrec.config import WorldConfig
from jaxrec.data import synthetic_texts
from jaxrec.data.attributes import attributes_of
from jaxrec.keys import generator
from jaxrec.types import Interactions

TASTE_WEIGHTS = np.array([0.4, 0.35, 0.25])  # how a user's jumps spread over their clusters, best liked first
FOLLOW_WEIGHTS = np.array([0.6, 0.2, 0.2])  # next on the circle, first and second shortcut
STRAY = 0.1  # jumps that land in a cluster which the user does not like
FEWEST_EVENTS = 5
BLOCK = 65_536  # users generated at a time
DAY = 86_400
FIRST_DAY = 1_577_836_800  # 2020-01-01, in seconds since 1970
SPAN_DAYS = 720  # users arrive over two years
GAP_DAYS = 6.0  # mean time between two events of a user


def generate_world(world: WorldConfig, *, seed: int) -> Interactions:
    """Synthetic interactions, a pure function of `world` and `seed`.

    No user has two events with an item. Numbers and names of users and items are independent of clusters, order and
    time.

    Returns:
      Interactions with ratings 1..5, times, texts "review" and "summary", titles, and
      the attributes "kind" and "look"; rows sorted by user, then time.

    Raises:
      ValueError: a size is out of range (fewer items than clusters, fewer than five events per user, ...).
    """
    _check(world)
    random = generator(seed, "world")
    circle = _clusters(world, random)
    tastes = _tastes(world, random)
    lengths = _lengths(world, random)
    user = np.repeat(np.arange(world.users, dtype=np.int32), lengths)
    blocks = [slice(start, start + BLOCK) for start in range(0, world.users, BLOCK)]  # bounds the memory
    place = np.concatenate([_simulate_users(world, circle, tastes[block], lengths[block], random) for block in blocks])
    cluster = circle.cluster[place]
    rating = _ratings(user, place, cluster, tastes, world, random)
    text = synthetic_texts.reviews(cluster, rating.astype(np.int64), random)
    number = random.permutation(world.items).astype(np.int32)  # hides the planted order from item numbers
    titles = np.empty(world.items, dtype=object)
    titles[number] = synthetic_texts.titles(circle.cluster, random)
    kinds = np.empty(world.items, dtype=object)
    kinds[number] = [synthetic_texts.thing(cluster) for cluster in circle.cluster.tolist()]
    width_user, width_item = len(str(world.users - 1)), len(str(world.items - 1))
    return Interactions(
        user=user,
        item=number[place],
        user_names=np.array([f"user{u:0{width_user}d}" for u in range(world.users)], dtype=object),
        item_names=np.array([f"item{i:0{width_item}d}" for i in range(world.items)], dtype=object),
        rating=rating,
        time=_times(lengths, random),
        text=text,
        item_titles=titles,
        item_attributes=attributes_of(
            {"kind": [[kind] for kind in kinds], "look": [[title.split()[0]] for title in titles]}
        ),
    )


def shuffled_world(interactions: Interactions, *, seed: int) -> Interactions:
    """The same events with their items permuted: counts per user and item stay, all other structure is destroyed.

    Ratings and times stay with the user's event; a text moves with its item.
    """
    order = generator(seed, "shuffled world").permutation(interactions.n_events)
    text = interactions.text
    return Interactions(
        user=interactions.user,
        item=interactions.item[order],
        user_names=interactions.user_names,
        item_names=interactions.item_names,
        rating=interactions.rating,
        time=interactions.time,
        text=None if text is None else {name: column[order] for name, column in text.items()},
        item_titles=interactions.item_titles,
        item_attributes=interactions.item_attributes,
    )


class _Circle:
    """Places 0..I-1 in planted order: cluster c holds first[c]..first[c+1]-1 and closes into a circle.

    Attributes:
      cluster: i64[I].
      next: the place after each on its circle, i64[I].
      shortcuts: two other likely successors in the cluster, i64[I, 2].
    """

    def __init__(self, first: np.ndarray, share: np.ndarray, random: np.random.Generator) -> None:
        sizes = np.diff(first)
        self.first = first
        self.cluster = np.repeat(np.arange(len(sizes)), sizes)
        self.next = np.arange(1, first[-1] + 1)
        self.next[first[1:] - 1] = first[:-1]
        size = sizes[self.cluster][:, None]
        leap = random.integers(size, size=(first[-1], 2))
        self.shortcuts = first[self.cluster][:, None] + (np.arange(first[-1])[:, None] + leap) % size
        self.cumulative = np.cumsum(share)  # over all places; a cluster's part of it is its own distribution

    def draw(self, cluster: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A place of each given cluster, drawn by popularity."""
        edges = np.concatenate([[0.0], self.cumulative])[self.first]
        low, high = edges[cluster], edges[cluster + 1]
        place = np.searchsorted(self.cumulative, low + random.random(len(cluster)) * (high - low), side="right")
        return np.clip(place, self.first[cluster], self.first[cluster + 1] - 1)  # rounding may touch a border

    def follow(self, place: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A successor of each place: mostly the next on the circle, otherwise one of the two shortcuts."""
        way = random.choice(1 + self.shortcuts.shape[1], size=len(place), p=FOLLOW_WEIGHTS)
        return np.where(way == 0, self.next[place], self.shortcuts[place, way - 1])


def _check(world: WorldConfig) -> None:
    requirements = [
        (world.users >= 1, f"users={world.users} is below 1"),
        (
            world.tastes >= len(TASTE_WEIGHTS),
            f"tastes={world.tastes} is below {len(TASTE_WEIGHTS)}, which a user likes",
        ),
        (world.items >= 2 * world.tastes, f"items={world.items} gives {world.tastes} tastes fewer than 2 items each"),
        (
            FEWEST_EVENTS <= world.events_per_user <= world.items / 2,
            f"events_per_user={world.events_per_user} is outside {FEWEST_EVENTS}..items/2={world.items / 2:g}",
        ),
        (0 <= world.drift <= 1, f"drift={world.drift} is not a probability"),
        (world.popularity >= 0, f"popularity={world.popularity} is negative"),
    ]
    for satisfied, problem in requirements:
        if not satisfied:
            raise ValueError(f"WorldConfig: {problem}")


def _clusters(world: WorldConfig, random: np.random.Generator) -> _Circle:
    first = np.linspace(0, world.items, world.tastes + 1).round().astype(np.int64)
    share = np.concatenate([random.permutation(np.arange(1, size + 1) ** -world.popularity) for size in np.diff(first)])
    return _Circle(first, share, random)


def _tastes(world: WorldConfig, random: np.random.Generator) -> np.ndarray:
    """Clusters that each user likes, best first, i64[U, 3]; some clusters are liked by more users than others."""
    fame = np.arange(1, world.tastes + 1) ** -world.popularity
    share = fame / fame.sum()
    liked = random.choice(world.tastes, size=(world.users, len(TASTE_WEIGHTS)), p=share)
    for rank in range(1, len(TASTE_WEIGHTS)):  # redrawn until it differs from the better liked ones
        rows = np.arange(world.users)
        while len(rows := rows[(liked[rows, :rank] == liked[rows, rank, None]).any(axis=1)]):
            liked[rows, rank] = random.choice(world.tastes, size=len(rows), p=share)
    return liked


def _lengths(world: WorldConfig, random: np.random.Generator) -> np.ndarray:
    """Number of events of each user, i64[U]: five plus a geometric number, at most half the catalogue."""
    mean = world.events_per_user - FEWEST_EVENTS
    extra = random.geometric(1 / (1 + mean), size=world.users) - 1
    return np.minimum(FEWEST_EVENTS + extra, world.items // 2)


def _simulate_users(
    world: WorldConfig, circle: _Circle, tastes: np.ndarray, lengths: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Places that each user visits, oldest first, user by user, i32[sum(lengths)]."""
    history = np.full((len(lengths), lengths.max()), -1, np.int32)
    longest_circle = int(np.diff(circle.first).max())
    order = np.argsort(-lengths, kind="stable")  # so that the unfinished users are a prefix
    n_active = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
    for step, n in enumerate(n_active):
        users = order[:n]
        liked = tastes[users, random.choice(len(TASTE_WEIGHTS), size=n, p=TASTE_WEIGHTS)]
        cluster = np.where(random.random(n) < STRAY, random.integers(world.tastes, size=n), liked)
        place = circle.draw(cluster, random)
        if step:
            follows = random.random(n) < world.drift
            place = np.where(follows, circle.follow(history[users, step - 1], random), place)
        history[users, step] = _unvisited(place, history[users, :step], circle, longest_circle, world.items)
    return history[np.arange(history.shape[1]) < lengths[:, None]]


def _unvisited(
    place: np.ndarray, visited: np.ndarray, circle: _Circle, longest_circle: int, n_items: int
) -> np.ndarray:
    """The first place along the circle that is not in visited i32[n, step]; off the circle if all is visited."""
    place = place.copy()
    rows = np.flatnonzero((visited == place[:, None]).any(axis=1))
    tries = 0
    while len(rows):
        place[rows] = circle.next[place[rows]] if tries < longest_circle else (place[rows] + 1) % n_items
        rows = rows[(visited[rows] == place[rows, None]).any(axis=1)]
        tries += 1
    return place


def _ratings(
    user: np.ndarray,
    place: np.ndarray,
    cluster: np.ndarray,
    tastes: np.ndarray,
    world: WorldConfig,
    random: np.random.Generator,
) -> np.ndarray:
    """Stars 1..5, f32[N]: more for better liked clusters, plus item quality and noise."""
    match = np.zeros(len(user))
    for rank, stars in enumerate((2.2, 1.3, 0.5)):
        match[tastes[user, rank] == cluster] = stars
    quality = random.normal(0.0, 0.4, size=world.items)[place]
    return np.clip(np.rint(2.3 + match + quality + random.normal(0.0, 0.6, size=len(user))), 1, 5).astype(np.float32)


def _times(lengths: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Seconds since 1970, i64[N], rising within each user: a first day, then exponential gaps."""
    n = int(lengths.sum())
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    gaps = random.exponential(GAP_DAYS * DAY, size=n)
    gaps[starts] = random.uniform(0, SPAN_DAYS * DAY, size=len(lengths))
    running = np.cumsum(gaps)
    since = running - np.repeat(running[starts] - gaps[starts], lengths)
    return FIRST_DAY + since.astype(np.int64)
