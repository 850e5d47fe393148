"""The preset `best` on MovieLens 100K, for a table over several seeds."""

from jaxrec.config import DataConfig, load_config

movies = DataConfig(
    name="MovieLens 100K", path="ml-100k/ml-100k.inter.gz", items_path="ml-100k/ml-100k.item.gz", min_events=5
)
# Validation prefers this here and on the generated world, and not on Last.fm, Instruments and Beauty.
study = {"META ID": load_config("best").replace(data=movies, item_head__mask_seen=True)}
