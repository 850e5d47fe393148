"""Kinds of ids, and numbers of META ID's clusters, on MovieLens 100K with the T5 of meta_id_ml100k_cpu; items only."""

import dataclasses
import pathlib
from typing import Any

from jaxrec.config import Config, QuantizerConfig, load_config

base = load_config(pathlib.Path(__file__).parent.parent / "meta_id_ml100k_cpu.py")
base = dataclasses.replace(
    base,
    ids=dataclasses.replace(base.ids, entities="items"),
    quantizer=QuantizerConfig(codebooks=2, codewords=64, epochs=100),
    # To compare kinds, not to end: the run that the shape is from trains six epochs.
    train=dataclasses.replace(base.train, epochs=1, validate_every=1, validate_users=300),
)
TOKENS = 3
"""Of META ID's ids, prefix included."""


def ids(tokens: int = TOKENS, **changed: Any) -> Config:
    """The config with other ids; ids of more tokens get rows in which as many examples find place."""
    length = base.train.source_length * (tokens + 1) // (TOKENS + 1)
    train = dataclasses.replace(base.train, source_length=length, target_length=4 * (tokens + 1))
    return dataclasses.replace(base, ids=dataclasses.replace(base.ids, **changed), train=train)


study = {
    "META ID, |G| = 50": ids(),
    "RID": ids(5, kind="rid"),
    "SID": ids(5, kind="sid"),
    "CID": ids(4, kind="cid", branches=12, leaf=100),
    "IID": ids(2, kind="iid"),
    "META ID, |G| = 10": ids(clusters=10),
    "META ID, |G| = 200": ids(clusters=200),
    "RQ-K-means": ids(4, kind="rq_kmeans"),
    "DBSCAN": ids(kind="dbscan"),
    "spectral": ids(kind="spectral"),
    "RQ-VAE": ids(4, kind="rq_vae"),
    "META ID, |G| = 25": ids(clusters=25),
    "META ID, |G| = 100": ids(clusters=100),
}
