"""TokenRec on Last.fm with LightGCN's vectors from a sampled softmax over cosines, which validation prefers to BPR's."""

import dataclasses
import pathlib

from jaxrec.config import load_config

bpr = load_config(pathlib.Path(__file__).with_name("token_rec_lastfm.py"))
config = dataclasses.replace(
    bpr, name="token_rec_lastfm_softmax", lightgcn=dataclasses.replace(bpr.lightgcn, losses=("sampled",))
)
