"""The preset `token_rec_best` on Last.fm, for a table over several seeds."""

from jaxrec.config import DataConfig, load_config

last_fm = DataConfig(name="Last.fm", path="lastfm/user_sequence.txt.gz")
study = {"TokenRec": load_config("token_rec_best").replace(data=last_fm)}
