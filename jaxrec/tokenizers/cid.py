"""Collaborative ids (CID): paths in a tree of clusters by co-occurrence, and a number within the last cluster."""

from __future__ import annotations

import functools

import numpy as np

from jaxrec.config import IdConfig, QuantizerConfig
from jaxrec.keys import stream
from jaxrec.tokenizers import spectral
from jaxrec.tokenizers.entity_ids import EntityIds
from jaxrec.tokenizers.kind import IdInputs, Kind
from jaxrec.tokenizers.meta_id import fill_smallest
from jaxrec.tokenizers.quantized_ids import QuantizedIds
from jaxrec.tokenizers.quantizers.quantizer import Quantizer
from jaxrec.tokenizers.quantizers.tree import TREE


def fit_paths(inputs: IdInputs) -> dict[str, EntityIds]:
    """CID: hierarchical spectral clustering of the co-occurrence graph; Hua et al. 2023, section 4.3.

    Users are clustered by shared items as items are by shared users. Each level has its own tokens, and newcomers join
    the leaf whose mean vector is nearest by cosine; neither is in the paper. Entities that are not in the graph join
    the nearest leaf too or, without a vector, the currently smallest leaf.

    Args:
      inputs: vectors (to find the nearest leaf), histories, key, and of config.ids branches, leaf and spare are used.
    Raises:
      ValueError: no two entities co-occur.
    """
    config = inputs.config.ids
    ids: dict[str, EntityIds] = {}
    for entity in inputs.entities:
        rows = inputs.rows(entity)
        graph = spectral.cooccurrence(inputs.histories, entity)
        key = stream(inputs.key, f"tree of {entity}s")
        paths = spectral.cluster_tree(graph, config.branches, config.leaf, key=key)
        quantizer, values = _leaves(rows, paths, config)
        ids[entity] = QuantizedIds.of_codes(
            entity,
            rows,
            quantizer,
            values,
            quantizer.report(rows, values),
            unique=inputs.unique(entity),
            spare=config.spare,
        )
    return ids


def _leaves(rows: np.ndarray, paths: np.ndarray, config: IdConfig) -> tuple[Quantizer, np.ndarray]:
    """The tree as a quantizer of vectors f32[n,F], and the path of every entity, i32[n,depth]."""
    placed = paths[:, 0] >= 0
    if not placed.any():
        raise ValueError("no two are met together in the training histories; choose another ids.kind than cid")
    leaves, leaf = np.unique(paths[placed], axis=0, return_inverse=True)
    means = np.zeros((len(leaves), rows.shape[1]), np.float32)
    np.add.at(means, leaf.reshape(-1), rows[placed])
    means /= np.bincount(leaf.reshape(-1))[:, None]
    shape = QuantizerConfig(codebooks=paths.shape[1], codewords=config.branches)
    params = {"paths": leaves.astype(np.int32), "means": means}
    quantizer = Quantizer(TREE, shape, rows[placed].mean(0), np.ones((), np.float32), params)
    values = paths.copy()
    late = np.flatnonzero(~placed & rows.any(axis=1))
    values[late] = quantizer.encode(rows[late])
    zeros = np.flatnonzero(~placed & ~rows.any(axis=1))
    _, counts = np.unique(np.concatenate([leaves, values[values[:, 0] >= 0]]), axis=0, return_counts=True)
    values[zeros] = leaves[fill_smallest(counts - 1, len(zeros))[:, 0]]
    return quantizer, values


CID = Kind(
    label="CID",
    fit=fit_paths,
    load=functools.partial(QuantizedIds.load, kind=TREE),
    activity="clustering users and items that occur together into ids (CID)",
    length=lambda config: 2 + (config.answer != "vector"),
)
