"""TokenRec on Last.fm with vectors that LightGCN learns by a sampled softmax over cosines."""

import dataclasses
import pathlib

from jaxrec.config import load_config

bpr = load_config(pathlib.Path(__file__).with_name("token_rec_lastfm.py"))
config = dataclasses.replace(
    bpr, name="token_rec_lastfm_softmax", lightgcn=dataclasses.replace(bpr.lightgcn, losses=("sampled",))
)
