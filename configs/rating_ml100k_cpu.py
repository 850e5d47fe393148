"""Ratings of MovieLens 100K by META ID, for two CPU cores: 80% of the events teach, 10% select, 10% test."""

import dataclasses
import pathlib

from jaxrec.config import TaskConfig, load_config

base = load_config(pathlib.Path(__file__).with_name("meta_id_ml100k_cpu.py"))

config = dataclasses.replace(
    base,
    name="rating_ml100k_cpu",
    # Stars follow from who asks about what: both have ids of all that they did in training.
    ids=dataclasses.replace(base.ids, users="static"),
    task=TaskConfig(tasks=("rating",)),
    train=dataclasses.replace(base.train, epochs=4, source_length=128, target_length=32, validate_users=4000),
)
