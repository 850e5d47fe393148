"""The preset `best` on Last.fm, for a table over several seeds."""

from jaxrec.config import DataConfig, load_config

last_fm = DataConfig(name="Last.fm", path="lastfm/user_sequence.txt.gz")
study = {"META ID": load_config("best").replace(data=last_fm)}
