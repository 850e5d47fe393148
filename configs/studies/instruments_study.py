"""Ratings and texts on Musical Instruments: META ID's tables 3, 11 and 13, and tasks trained together and apart."""

import dataclasses
import pathlib
from typing import Any

from jaxrec.config import Config, load_config

base = load_config(pathlib.Path(__file__).parent.parent / "instruments_cpu.py")
# To compare rows, not to end.
base = dataclasses.replace(base, train=dataclasses.replace(base.train, epochs=4))


def ids(**changed: Any) -> Config:
    """The config with other ids."""
    return dataclasses.replace(base, ids=dataclasses.replace(base.ids, **changed))


def tasks(*names: str) -> Config:
    """The config with other tasks; alone, those that write teach with more events: leave-one-out holds none back."""
    return dataclasses.replace(base, task=dataclasses.replace(base.task, tasks=names))


study = {
    "META ID": base,
    "META ID, writing alone": tasks("rating", "explanation", "review", "preference"),
    "META ID, rating alone": tasks("rating"),
    "META ID, explanation alone": tasks("explanation"),
    "META ID, review alone": tasks("review"),
    "META ID, preference alone": tasks("preference"),
    "RID": ids(kind="rid"),
    "SID": ids(kind="sid"),
    "CID": ids(kind="cid", branches=8, leaf=32),
}
