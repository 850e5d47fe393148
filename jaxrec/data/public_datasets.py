"""Public data sets: official addresses, and the files of each that are read."""

from __future__ import annotations

import dataclasses
import pathlib

from jaxrec.data.download import fetch, fetch_md5, unpack

GROUPLENS = "https://files.grouplens.org/datasets"
AMAZON_2014 = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
CATEGORIES = (  # of Amazon 2014 that have a 5-core
    "Amazon_Instant_Video",
    "Apps_for_Android",
    "Automotive",
    "Baby",
    "Beauty",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Grocery_and_Gourmet_Food",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Kindle_Store",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Sports_and_Outdoors",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Video_Games",
)


@dataclasses.dataclass(frozen=True)
class PublicDataset:
    """A downloadable data set.

    Attributes:
      url: the official address of one file.
      events: the file that `read_events` reads; inside the archive where `url` is one.
      titles: the file that `read_titles` reads, or None.
      md5_url: address of the publisher's checksum. None: only the size is compared; gzip and zip verify their own
        checksums when they are opened.
    """

    url: str
    events: str
    titles: str | None = None
    md5_url: str | None = None


def _movielens(size: str, events: str, titles: str) -> PublicDataset:
    url = f"{GROUPLENS}/movielens/ml-{size}.zip"
    return PublicDataset(url, events, titles, md5_url=f"{url}.md5")


def _amazon(category: str) -> PublicDataset:
    file = f"reviews_{category}_5.json.gz"
    return PublicDataset(f"{AMAZON_2014}/{file}", file)


PUBLIC_DATASETS: dict[str, PublicDataset] = {
    "ml-100k": _movielens("100k", "u.data", "u.item"),
    "ml-1m": _movielens("1m", "ratings.dat", "movies.dat"),
    "ml-20m": _movielens("20m", "ratings.csv", "movies.csv"),
    "lastfm": PublicDataset(
        f"{GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip", "user_taggedartists-timestamps.dat", "artists.dat"
    ),
    **{f"amazon-{name.removeprefix('Amazon_').lower().replace('_', '-')}": _amazon(name) for name in CATEGORIES},
}


def download_dataset(name: str, folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Downloads a data set into folder/name; files that exist already are kept.

    Returns:
      The files of events and of titles (None where the set has none).

    Raises:
      ValueError: the name is unknown, or the download failed.
    """
    if name not in PUBLIC_DATASETS:
        raise ValueError(f"data set {name!r} is not known; there are: {', '.join(PUBLIC_DATASETS)}")
    dataset, home = PUBLIC_DATASETS[name], folder / name
    names = tuple(file for file in (dataset.events, dataset.titles) if file is not None)
    if not all((home / file).exists() for file in names):
        file = home / dataset.url.rpartition("/")[2]
        md5 = None if dataset.md5_url is None or file.exists() else fetch_md5(dataset.md5_url)
        fetch(dataset.url, file, md5=md5)
        if file.suffix == ".zip":
            unpack(file, names, home)
    return home / dataset.events, None if dataset.titles is None else home / dataset.titles
