"""K-means as a quantizer: one codebook, whose codeword is the mean of a cluster's vectors."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxrec.config import QuantizerConfig
from jaxrec.tokenizers.quantizers import kmeans
from jaxrec.tokenizers.quantizers.blocks import nearest_direction
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, QuantizerKind, Training


def fit_centroids(training: Training, *, key: jax.Array) -> dict[str, np.ndarray]:
    """Centroids f32[G,F] (directions) and means f32[G,F] of clusters by cosine.

    Raises:
      ValueError: more clusters than vectors.
    """
    rows, clusters = training.rows, training.config.codewords
    if clusters > len(rows):
        raise ValueError(f"{clusters} clusters exceed the {len(rows)} vectors; lower quantizer.codewords")
    clustering = kmeans.fit_kmeans(rows, clusters, restarts=1, key=key)
    size = np.bincount(clustering.assignment, minlength=clusters)[:, None]
    total = np.zeros_like(clustering.centroids)
    np.add.at(total, clustering.assignment, rows)
    usual = np.linalg.norm(rows, axis=1).mean()
    means = np.where(size > 0, total / np.maximum(size, 1), clustering.centroids * usual)
    return {"centroids": clustering.centroids, "means": means.astype(np.float32)}


def _encode(quantizer: Quantizer, rows: np.ndarray) -> np.ndarray:
    return nearest_direction(quantizer.params["centroids"], rows)[:, None]


def _decode(quantizer: Quantizer, codes: np.ndarray) -> np.ndarray:
    return quantizer.params["means"][codes[:, 0]]


def _codewords(quantizer: Quantizer) -> list[np.ndarray]:
    return [quantizer.params["means"]]


def _shapes(config: QuantizerConfig, width: int, arrays: dict[str, np.ndarray]) -> Any:
    means = jax.ShapeDtypeStruct((config.codewords, width), np.float32)
    return {"centroids": means, "means": means}


KMEANS = QuantizerKind(
    "kmeans", fit=fit_centroids, encode=_encode, decode=_decode, codewords=_codewords, shapes=_shapes, one_codebook=True
)
