"""TokenRec on Amazon Beauty with a T5 that two CPU cores can train."""

import dataclasses
import pathlib

from jaxrec.config import load_config

lastfm = load_config(pathlib.Path(__file__).with_name("token_rec_lastfm.py"))
config = dataclasses.replace(
    lastfm,
    name="token_rec_beauty_cpu",
    data=dataclasses.replace(lastfm.data, name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    lightgcn=dataclasses.replace(lastfm.lightgcn, epochs=40, patience=3),
    # L = 512, the paper's choice for this size (section 3.6.2); 34,000 rows need fewer epochs than Last.fm's 5,000.
    quantizer=dataclasses.replace(lastfm.quantizer, codewords=512, epochs=60),
    train=dataclasses.replace(lastfm.train, epochs=2, validate_users=4000),
)
