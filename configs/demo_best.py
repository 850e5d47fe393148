"""META ID's ids in the model of the preset `best`, on the generated world, without a network."""

import pathlib

from jaxrec.config import NO_AUGMENTATION, load_config

config = load_config(pathlib.Path(__file__).with_name("best.py")).replace(
    name="demo_best",
    # This world's histories follow a planted order, which augmentation and a filter would hide. It has 600 items, which
    # need no wider model, and 50 events an item, which leave nothing to gain from rows that start as vectors.
    task__augment=NO_AUGMENTATION,
    model__filter__weight=0.0,
    model__llama__d_model=64,
    model__llama__heads=2,
    model__llama__kv_heads=2,
    model__llama__d_ff=128,
    model__llama__dropout=0.2,
    skipgram__dim=64,
    eval__blend_with=("ease",),
    item_head__id_weight=0.5,
    item_head__initial="random",
    # Users of this world pass by places that they have visited.
    item_head__mask_seen=True,
    train__epochs=15,
    train__validate_every=3,
    train__validate_users=500,
)
