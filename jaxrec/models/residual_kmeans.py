"""Residual K-means: the codebooks of an RQ-VAE without its networks, each by K-means of the residuals before it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxrec.config import QuantizerConfig
from jaxrec.models import codebook
from jaxrec.models.masked_vq import Params
from jaxrec.models.rq_vae import residuals
from jaxrec.types import Array

RESTARTS = 4


def fit(x: Array, config: QuantizerConfig, *, iterations: int = 50, key: jax.Array) -> jax.Array:
    """Codebooks f32[K, L, F] of vectors f32[n, F], level by level, the best of some restarts.

    Chen, Guan and Wang 2010 (residual vector quantization).

    Args:
      x: what is quantized.
      config: codebooks (levels) and codewords are read.
      iterations: of each K-means.
      key: random key.
    """
    residual_rows, books = jnp.asarray(x)[None], []
    for level in range(config.codebooks):
        candidates = []
        for restart in range(RESTARTS):
            restart_key = jax.random.fold_in(jax.random.fold_in(key, level), restart)
            book = codebook.kmeans(residual_rows, config.codewords, iterations=iterations, key=restart_key)
            new_residuals = _left(book, residual_rows)
            candidates.append((float(jnp.sum(new_residuals**2)), restart, book, new_residuals))
        _, _, book, residual_rows = min(candidates, key=lambda candidate: candidate[:2])
        books.append(book[0])
    return jnp.stack(books)


@functools.partial(jax.jit)
def _left(book: jax.Array, rows: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return rows - codebook.lookup(book, codebook.nearest(book, rows))


def encode(params: Params, x: Array) -> jax.Array:
    """Codes of vectors f32[B, F]: i32[B, K], coarse to fine."""
    return residuals(params["codebook"], x)[1].T


def decode(params: Params, codes: Array) -> jax.Array:
    """The vectors f32[B, F] that codes i32[B, K] stand for: the sum of their codewords."""
    return codebook.lookup(params["codebook"], codes.T).sum(0)
