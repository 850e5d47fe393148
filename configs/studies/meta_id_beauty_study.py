"""The rows of META ID's tables 1, 2, 4, 5 and 8 that a language model makes, on Amazon Beauty, for two CPU cores."""

import dataclasses
import pathlib

from jaxrec.config import Config, LightGcnConfig, OovConfig, QuantizerConfig, load_config

base = load_config(pathlib.Path(__file__).parent.parent / "meta_id_beauty_cpu.py")
base = dataclasses.replace(
    base,
    # The paper names users as well, by all their training events; docs/results says what a strict split makes of that.
    ids=dataclasses.replace(base.ids, users="static"),
    task=dataclasses.replace(base.task, tasks=("sequential", "direct")),
    quantizer=QuantizerConfig(codebooks=2, codewords=128, epochs=100),
    lightgcn=LightGcnConfig(epochs=200),
    # To compare rows, not to end: validation still rises after it.
    train=dataclasses.replace(base.train, epochs=1),
)
TOKENS = 3
"""Of META ID's ids, prefix included."""


def ids(tokens: int = TOKENS, **changed) -> Config:
    """The config with other ids; ids of more tokens get rows in which as many examples find place."""
    length = base.train.source_length * (tokens + 1) // (TOKENS + 1)
    train = dataclasses.replace(base.train, source_length=length, target_length=4 * (tokens + 1))
    return dataclasses.replace(base, ids=dataclasses.replace(base.ids, **changed), train=train)


tiger = ids(5, kind="rq_vae", entities="items", users="none")

study = {
    "META ID": base,
    "RID": ids(6, kind="rid"),
    "SID": ids(6, kind="sid"),
    "CID": ids(5, kind="cid"),
    "IID": ids(2, kind="iid"),
    "RQ-VAE": ids(4, kind="rq_vae"),
    # Three codes of 256 and one that tells equal ones apart, ids of items alone, nothing known of users but the
    # history, no projection (Rajput et al. 2023); from the vectors of the other rows, as this data has no item texts.
    "TIGER": dataclasses.replace(
        tiger,
        quantizer=dataclasses.replace(tiger.quantizer, codebooks=3, codewords=256),
        model=dataclasses.replace(tiger.model, oov=OovConfig(scope="none")),
        task=dataclasses.replace(tiger.task, tasks=("sequential",)),
    ),
    "DBSCAN": ids(kind="dbscan"),
    "Spectral": ids(kind="spectral"),
    "MF-based": dataclasses.replace(base, embedder="mf"),
    "GCN-based": dataclasses.replace(base, embedder="lightgcn"),
}
