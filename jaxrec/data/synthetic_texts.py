"""Texts of the generated world: item titles and short reviews."""

from __future__ import annotations

import numpy as np

THINGS = (
    "Lantern Kettle Notebook Scarf Compass Candle Teapot Blanket Headlamp Sketchbook Mug Backpack Ukulele Planter "
    "Hammock Puzzle Telescope Apron Skillet Umbrella Journal Bracelet Raincoat Cushion Drum Vase Pillow Kite Ladder "
    "Basket Clock Mirror"
)
LOOKS = (
    "Amber Azure Birch Brisk Bright Calm Cedar Clever Coastal Copper Coral Cosy Crimson Dusty Early Ember Evening "
    "Feather Fern Foggy Forest Frosted Garden Gentle Golden Granite Harbour Hazel Hidden Honey Indigo Ivory Jade "
    "Juniper Late Lavender Little Lunar Maple Meadow Mellow Midnight Misty Mossy Northern Ocean Olive Opal Pale Pearl "
    "Pine Plum Quiet Rainy River Rose Rustic Sandy Scarlet Silver Slate Snowy Solar Southern Spring Starry Still Stone "
    "Summer Sunny Tidal Twilight Velvet Violet Warm Wild Willow Windy Winter Woven"
)
OPENINGS = {
    1: ("A let-down", "I sent it back", "Not worth the shelf", "Broke within days"),
    2: ("Weaker than I hoped", "It does half of the job", "I expected more", "Hard to like"),
    3: ("It is all right", "Does what it says, no more", "Neither good nor bad", "Fine for now"),
    4: ("A good buy", "Well made and handy", "I am happy with it", "Better than my last one"),
    5: ("I love it", "The best I have owned", "Could not be better", "It made my week"),
}
MIDDLES = (
    "this {thing} is with me every day",
    "my sister asked where I found this {thing}",
    "I looked at many before I took this {thing}",
    "the {thing} came quickly and in one piece",
)
ENDINGS = {
    1: ("Stay away from it.", "I want my money back."),
    2: ("I would not take it again.", "Look for another one first."),
    3: ("You may like it more than I did.", "The price is fair."),
    4: ("I would buy it again.", "A friend will get one too."),
    5: ("Everybody should have one.", "I have already ordered another."),
}


def thing(cluster: int) -> str:
    """The noun of a cluster's items, unique to the cluster."""
    nouns = THINGS.split()
    series = cluster // len(nouns)
    return nouns[cluster % len(nouns)] + (f" {series + 1}" if series else "")


def titles(cluster: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A unique title for each item, object[I], "Amber Lantern"; it reveals the cluster but not the order.

    Args:
      cluster: the cluster of each item, i64[I].
      random: assigns the first words.
    """
    looks = LOOKS.split()
    item_titles = np.empty(len(cluster), dtype=object)
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        for copy, member in enumerate(random.permutation(members)):
            edition = copy // len(looks)
            item_titles[member] = (
                looks[copy % len(looks)] + f" {thing(number)}" + (f" No. {edition + 1}" if edition else "")
            )
    return item_titles


def reviews(cluster: np.ndarray, stars: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Texts of events, {"review": object[N], "summary": object[N]}, that fit the item's cluster and the stars.

    Every possible text is built once and then picked by number, so that millions of events cost little.

    Args:
      cluster: the cluster of each event's item, i64[N].
      stars: 1..5, i64[N].
      random: picks among the texts that fit.
    """
    things = [thing(c).lower() for c in range(int(cluster.max()) + 1)]
    openings = np.array([OPENINGS[s] for s in range(1, 6)], dtype=object)
    full = np.array(
        [
            [
                [f"{o}: {m.format(thing=t)}. {e}" for o in OPENINGS[s] for m in MIDDLES for e in ENDINGS[s]]
                for s in range(1, 6)
            ]
            for t in things
        ],
        dtype=object,
    )
    variant = random.integers(full.shape[2], size=len(stars))
    per_opening = full.shape[2] // openings.shape[1]
    return {"review": full[cluster, stars - 1, variant], "summary": openings[stars - 1, variant // per_opening]}
