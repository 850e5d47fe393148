"""The preset `best` on Amazon Beauty, for a table over several seeds."""

from jaxrec.config import load_config

study = {"META ID": load_config("meta_id_beauty_best")}
