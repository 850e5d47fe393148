"""The preset `best` on Amazon Beauty: as many epochs as were measured, in larger batches."""

import pathlib

from jaxrec.config import DataConfig, load_config

config = load_config(pathlib.Path(__file__).with_name("best.py")).replace(
    name="meta_id_beauty_best",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    ids__clusters=100,
    train__epochs=40,
    train__rows=32,
    train__validate_every=4,
    train__validate_users=0,
    train__patience=0,
)
