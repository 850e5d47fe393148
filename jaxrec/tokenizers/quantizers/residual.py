"""Residual K-means as a quantizer: each codebook clusters what the codebooks before it left over."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxrec.config import QuantizerConfig
from jaxrec.models import residual_kmeans
from jaxrec.tokenizers.quantizers.blocks import exactly, in_blocks
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, QuantizerKind, Training


def fit_residual(training: Training, *, key: jax.Array) -> dict[str, np.ndarray]:
    """A codebook f32[K,L,F] of the scaled vectors."""
    return {"codebook": np.asarray(residual_kmeans.fit(training.scaled, training.config, key=key))}


def _encode(quantizer: Quantizer, rows: np.ndarray) -> np.ndarray:
    return in_blocks(_to_codes, quantizer.params, quantizer.scaled(rows))


def _decode(quantizer: Quantizer, codes: np.ndarray) -> np.ndarray:
    return quantizer.unscaled(in_blocks(_from_codes, quantizer.params, codes.astype(np.int32)))


def _codewords(quantizer: Quantizer) -> list[np.ndarray]:
    return [book * quantizer.scale for book in quantizer.params["codebook"]]


def _shapes(config: QuantizerConfig, width: int, arrays: dict[str, np.ndarray]) -> Any:
    return {"codebook": jax.ShapeDtypeStruct((config.codebooks, config.codewords, width), np.float32)}


_to_codes, _from_codes = exactly(residual_kmeans.encode), exactly(residual_kmeans.decode)

RQ_KMEANS = QuantizerKind(
    "rq_kmeans", fit=fit_residual, encode=_encode, decode=_decode, codewords=_codewords, shapes=_shapes
)
