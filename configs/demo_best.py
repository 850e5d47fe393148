"""META ID's ids in the model of the preset `best`, on the generated world, without a network."""

import pathlib

from jaxrec.config import NO_AUGMENTATION, load_config

config = load_config(pathlib.Path(__file__).with_name("best.py")).replace(
    name="demo_best",
    # This world's histories follow a planted order, which augmentation and a filter would hide, and there are 50 events
    # an item.
    task__augment=NO_AUGMENTATION,
    model__filter__weight=0.0,
    model__llama__dropout=0.2,
    item_head__id_weight=0.5,
    train__epochs=15,
    train__validate_every=3,
    train__validate_users=500,
)
