"""The data that workloads run on."""

from __future__ import annotations

import os
import pathlib

from jaxrec.config import DataConfig, WorldConfig
from jaxrec.data.load import load_interactions
from jaxrec.data.split import make_split
from jaxrec.types import Split

BEAUTY = "amazon-beauty/user_sequence.txt.gz"


def beauty_or_generated(quick: bool) -> tuple[Split, str]:
    """Beauty, strictly split, where the real data is at hand, else a generated world of its size; and its name."""
    file = pathlib.Path(os.environ.get("JAXREC_DATA", "../shared/data")) / BEAUTY
    if quick:
        config, source = DataConfig(world=WorldConfig(users=300, items=200)), "generated"
    elif file.exists():
        config, source = DataConfig(path=str(file)), "Beauty"
    else:
        config, source = DataConfig(world=WorldConfig(users=22363, items=12101, events_per_user=9)), "generated"
    return make_split(load_interactions(config, seed=0)[0]), source
