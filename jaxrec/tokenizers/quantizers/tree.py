"""A tree of clusters as a quantizer: a code is the path to the leaf whose mean vector is nearest by cosine."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxrec.config import QuantizerConfig
from jaxrec.tokenizers.quantizers.blocks import nearest_direction
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, QuantizerKind, Training


def _fit(training: Training, *, key: jax.Array) -> Any:
    raise NotImplementedError("a tree is not fitted to vectors; jaxrec.tokenizers.cid makes it of a graph")


def _encode(quantizer: Quantizer, rows: np.ndarray) -> np.ndarray:
    return quantizer.params["paths"][nearest_direction(quantizer.params["means"], rows)]


def _decode(quantizer: Quantizer, codes: np.ndarray) -> np.ndarray:
    """Means of the leaves; of a path that leads to no leaf, as only an edited file has, the mean of all vectors."""
    paths = quantizer.params["paths"]
    _, number = np.unique(np.concatenate([paths, codes]), axis=0, return_inverse=True)
    number, leaves = number.reshape(-1), len(paths)
    leaf_of = np.full(number.max(initial=0) + 1, -1)
    leaf_of[number[:leaves]] = np.arange(leaves)
    leaf = leaf_of[number[leaves:]]
    return np.where(leaf[:, None] < 0, quantizer.center[None], quantizer.params["means"][leaf])


def _codewords(quantizer: Quantizer) -> list[np.ndarray]:
    """Means of the first level's branches; a number further down means another thing under every branch: zeros."""
    paths, means = quantizer.params["paths"], quantizer.params["means"]
    sums = np.zeros((quantizer.config.codewords, means.shape[1]), np.float32)
    np.add.at(sums, paths[:, 0], means)
    size = np.bincount(paths[:, 0], minlength=len(sums))
    return [sums / np.maximum(size, 1)[:, None], *[np.zeros_like(sums)] * (paths.shape[1] - 1)]


def _shapes(config: QuantizerConfig, width: int, arrays: dict[str, np.ndarray]) -> Any:
    leaves = len(arrays["params['means']"])
    return {
        "paths": jax.ShapeDtypeStruct((leaves, config.codebooks), np.int32),
        "means": jax.ShapeDtypeStruct((leaves, width), np.float32),
    }


TREE = QuantizerKind("cid", fit=_fit, encode=_encode, decode=_decode, codewords=_codewords, shapes=_shapes)
"""Of params: the leaves' paths i32[G,K] and means f32[G,F]."""
