"""Learned quantizers: TokenRec's masked K-way quantizer (MQ), VQ-VAE and RQ-VAE."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxrec.config import QuantizerConfig
from jaxrec.models import masked_vq, rq_vae
from jaxrec.tokenizers.quantizers.blocks import exactly, in_blocks
from jaxrec.tokenizers.quantizers.quantizer import Quantizer, QuantizerKind, Training
from jaxrec.tokenizers.quantizers.training import train_codebooks


def _learned(name: str, model: ModuleType, *, one_codebook: bool = False) -> QuantizerKind:
    """A kind whose params are the weights of a model with `init`, `start`, `loss`, `encode` and `decode`."""
    to_codes, from_codes = exactly(model.encode), exactly(model.decode)

    def fit(training: Training, *, key: jax.Array) -> Any:
        return train_codebooks(training.scaled, model, training.config, key=key, name=training.name)

    def encode(quantizer: Quantizer, rows: np.ndarray) -> np.ndarray:
        return in_blocks(to_codes, quantizer.params, quantizer.scaled(rows))

    def decode(quantizer: Quantizer, codes: np.ndarray) -> np.ndarray:
        return quantizer.unscaled(in_blocks(from_codes, quantizer.params, codes.astype(np.int32)))

    def shapes(config: QuantizerConfig, width: int, arrays: dict[str, np.ndarray]) -> Any:
        init = functools.partial(model.init, width, config)
        return jax.eval_shape(lambda key: init(key=key), jax.random.key(0))

    return QuantizerKind(
        name, fit=fit, encode=encode, decode=decode, codewords=_codewords, shapes=shapes, one_codebook=one_codebook
    )


def _codewords(quantizer: Quantizer) -> list[np.ndarray]:
    return list(np.asarray(quantizer.params["codebook"]))


MQ = _learned("mq", masked_vq)
RQ_VAE = _learned("rq_vae", rq_vae)
VQ_VAE = _learned("vq_vae", masked_vq, one_codebook=True)
