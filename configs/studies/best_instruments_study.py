"""The preset `best` on Amazon Musical Instruments, for a table over several seeds."""

from jaxrec.config import DataConfig, load_config

PATH = "amazon-instruments/reviews_Musical_Instruments_part.json.gz"
study = {"META ID": load_config("best").replace(data=DataConfig(name="Amazon Musical Instruments", path=PATH))}
