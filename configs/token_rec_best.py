"""TokenRec's ids and LightGCN's vectors in the model of the preset `best`; its table has a blend."""

import pathlib

from jaxrec.config import IdConfig, load_config

here = pathlib.Path(__file__).parent
token_rec = load_config(here / "token_rec_lastfm_softmax.py")
config = load_config(here / "best.py").replace(
    name="token_rec_best",
    embedder="lightgcn",
    lightgcn=token_rec.lightgcn,
    ids=IdConfig(kind="mq", users="none"),
    quantizer=token_rec.quantizer,
    # Items are found by their rows; ids are read, never said.
    item_head__id_weight=0.0,
    # An item takes as many tokens as there are codebooks and one more, against three with META ID's ids.
    train__source_length=144,
    train__target_length=260,
)
