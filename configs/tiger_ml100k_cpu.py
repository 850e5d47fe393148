"""TIGER on MovieLens 100K: residual codes of titles and genres, which no event makes; T5 as in meta_id_ml100k_cpu."""

import pathlib

from jaxrec.config import IdConfig, OovConfig, QuantizerConfig, load_config

config = load_config(pathlib.Path(__file__).with_name("meta_id_ml100k_cpu.py")).replace(
    name="tiger_ml100k_cpu",
    embedder="texts",
    data__attributes=("class",),
    # Three codes and one that tells equal ones apart (Rajput et al. 2023); 256 codewords are for larger catalogues.
    ids=IdConfig(kind="rq_vae", entities="items", users="none"),
    quantizer=QuantizerConfig(codebooks=3, codewords=64, epochs=300),
    model__oov=OovConfig(scope="none"),
    # An item takes five tokens here, and three with META ID's ids.
    train__source_length=192,
    train__target_length=24,
)
