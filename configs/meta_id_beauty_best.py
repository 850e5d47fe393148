"""The preset `best` on Amazon Beauty: bfloat16, the loss over all items, epochs as measured, larger batches."""

import pathlib

from jaxrec.config import DataConfig, load_config

config = load_config(pathlib.Path(__file__).with_name("best.py")).replace(
    name="meta_id_beauty_best",
    data=DataConfig(name="Amazon Beauty", path="amazon-beauty/user_sequence.txt.gz"),
    ids__clusters=100,
    model__llama__compute_dtype="bfloat16",
    model__filter__weight=0.9,
    item_head__negatives=0,
    eval__blend_with=("ease",),
    train__epochs=20,
    train__rows=32,
    train__validate_every=4,
    train__validate_users=0,
    train__patience=0,
)
