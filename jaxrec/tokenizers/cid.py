"""Collaborative ids: paths in a tree of clusters of those that are met together, and a number within the last one."""

from __future__ import annotations

import jax
import numpy as np

from jaxrec.config import IdConfig, QuantizerConfig
from jaxrec.keys import stream
from jaxrec.tokenizers import spectral
from jaxrec.tokenizers.meta_id import fill_smallest
from jaxrec.tokenizers.quantized_ids import KINDS, QuantizedIds
from jaxrec.tokenizers.quantizers.quantizer import Quantizer
from jaxrec.types import Histories, Vectors


def fit(vectors: Vectors, histories: Histories, config: IdConfig, *, key: jax.Array, unique: bool) -> QuantizedIds:
    """CID: hierarchical spectral clustering of the co-occurrence graph; Hua et al. 2023, section 4.3.

    Users are clustered by the items that they share as items are by their users. The tokens of a level are told apart
    from those of other levels, and a newcomer joins the leaf whose mean vector is nearest by cosine; the paper has
    neither. Whoever the graph does not hold does so too or, without a vector, joins the smallest leaf by then.

    Args:
      vectors: user f32[U,F] and item f32[I,F]; they say who is nearest to the middle of a leaf, and where newcomers go.
      histories: what may be learned from.
      config: branches, leaf and spare are read.
      key: random key.
      unique: whether a last number sets items apart.
    """
    quantizers, codes = {}, {}
    for who in KINDS:
        rows = getattr(vectors, who).astype(np.float32)
        paths = spectral.tree(
            spectral.met_together(histories, who), config.branches, config.leaf, key=stream(key, f"tree of {who}s")
        )
        quantizers[who], codes[who] = _planted(rows, paths, config)
    reports = {who: quantizers[who].report(getattr(vectors, who), codes[who]) for who in KINDS}
    return QuantizedIds.made(vectors, quantizers, codes, reports, unique=unique, spare=config.spare)


def _planted(rows: np.ndarray, paths: np.ndarray, config: IdConfig) -> tuple[Quantizer, np.ndarray]:
    """The tree as a quantizer of vectors f32[n,F], and the path of everybody, i32[n,depth]."""
    placed = paths[:, 0] >= 0
    if not placed.any():
        raise ValueError("no two are met together in the training histories; choose another ids.kind than cid")
    leaves, leaf = np.unique(paths[placed], axis=0, return_inverse=True)
    means = np.zeros((len(leaves), rows.shape[1]), np.float32)
    np.add.at(means, leaf.reshape(-1), rows[placed])
    means /= np.bincount(leaf.reshape(-1))[:, None]
    shape = QuantizerConfig(codebooks=paths.shape[1], codewords=config.branches)
    params = {"paths": leaves.astype(np.int32), "means": means}
    quantizer = Quantizer("cid", shape, rows[placed].mean(0), np.ones((), np.float32), params)
    out = paths.copy()
    late = np.flatnonzero(~placed & rows.any(axis=1))
    out[late] = quantizer.encode(rows[late])
    unknown = np.flatnonzero(~placed & ~rows.any(axis=1))
    _, counts = np.unique(np.concatenate([leaves, out[out[:, 0] >= 0]]), axis=0, return_counts=True)
    out[unknown] = leaves[fill_smallest(counts - 1, len(unknown))[:, 0]]
    return quantizer, out
