"""TokenRec's ids and retrieval in the model of the preset `best`, on the generated world."""

import pathlib

from jaxrec.config import IdConfig, load_config

here = pathlib.Path(__file__).parent
token_rec = load_config(here / "demo_token_rec.py")
config = load_config(here / "demo_best.py").replace(
    name="demo_best_token_rec",
    embedder="lightgcn",
    lightgcn=token_rec.lightgcn,
    ids=IdConfig(kind="mq", users="none"),
    quantizer=token_rec.quantizer,
    # Items are found by their LightGCN vectors; ids are read, never said.
    item_head__rows="vectors",
    item_head__id_weight=0.0,
    # An item takes five tokens here, and three with META ID's ids.
    train__source_length=144,
    train__target_length=260,
)
