"""META ID on Beauty with and without user ids; `launch.compare --protocols strict as-released`: what the leak adds."""

import dataclasses
import pathlib

from jaxrec.config import load_study

base = load_study(pathlib.Path(__file__).with_name("meta_id_beauty_study.py"))["META ID"]
base = dataclasses.replace(base, train=dataclasses.replace(base.train, epochs=2))

study = {
    "META ID": base,
    "META ID, no user ids": dataclasses.replace(
        base,
        ids=dataclasses.replace(base.ids, users="none"),
        task=dataclasses.replace(base.task, tasks=("sequential",)),
    ),
}
