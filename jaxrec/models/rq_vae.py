"""RQ-VAE: one encoder, codebooks that each quantize the residuals of the ones before, one decoder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.config import QuantizerConfig
from jaxrec.keys import stream
from jaxrec.models import codebook
from jaxrec.models.masked_vq import Params, decoder_init, mlp, mlp_init, parts, total_loss
from jaxrec.types import Array


def init(dim: int, config: QuantizerConfig, *, key: jax.Array) -> Params:
    """Initial weights; `start` then initialises the codebooks from data.

    Args:
      dim: width F of a vector.
      config: codebooks (levels), codewords, width and hidden are read.
      key: random key.
    Returns:
      encoder and decoder: layers of w f32[1, in, out] and b f32[1, out]; codebook: f32[K, L, d_c].
    """
    return {
        "encoder": mlp_init((dim, *config.hidden, config.width), 1, key=stream(key, "encoder")),
        "codebook": jax.random.normal(stream(key, "codebook"), (config.codebooks, config.codewords, config.width)),
        "decoder": decoder_init(dim, config, key=stream(key, "decoder")),
    }


def start(params: Params, x: Array, *, key: jax.Array) -> Params:
    """Codebooks put onto the K-means of the residuals, level by level, of vectors f32[n, F]."""
    residual, levels = mlp(params["encoder"], x[None]), []
    for level in range(params["codebook"].shape[0]):
        book = codebook.kmeans(residual, params["codebook"].shape[1], key=jax.random.fold_in(key, level))
        residual = residual - codebook.lookup(book, codebook.nearest(book, residual))
        levels.append(book[0])
    return {**params, "codebook": jnp.stack(levels)}


def residuals(books: Array, z: Array) -> tuple[jax.Array, jax.Array]:
    """Residual quantization, level by level; Zeghidour et al. 2021, algorithm 1.

    Args:
      books: f32[K, L, d_c].
      z: f32[B, d_c].
    Returns:
      Inputs of each level, f32[K, B, d_c] (the first is z; gradients flow to z), and codes i32[K, B].
    """
    inputs, codes = [], []
    for level in range(books.shape[0]):
        book = books[level : level + 1]
        inputs.append(z)
        codes.append(codebook.nearest(book, z[None])[0])
        z = z - lax.stop_gradient(codebook.lookup(book, codes[-1][None])[0])
    return jnp.stack(inputs), jnp.stack(codes)


def encode(params: Params, x: Array) -> jax.Array:
    """Codes of vectors f32[B, F]: i32[B, K], coarse to fine."""
    return residuals(params["codebook"], mlp(params["encoder"], x[None])[0])[1].T


def decode(params: Params, codes: Array) -> jax.Array:
    """The vectors f32[B, F] that codes i32[B, K] stand for, from the sum of their codewords."""
    return mlp(params["decoder"], codebook.lookup(params["codebook"], codes.T).sum(0)[None])[0]


def loss(
    params: Params, x: Array, *, config: QuantizerConfig, key: jax.Array
) -> tuple[jax.Array, tuple[dict[str, jax.Array], jax.Array, jax.Array]]:
    """Reconstruction, and codebook and commitment loss of every level; Rajput et al. 2023, section 3.1.

    Args:
      params: `init`'s weights.
      x: vectors f32[B, F].
      config: beta and ema are read, as in `masked_vq.loss`.
      key: not used, as nothing is masked.
    Returns:
      As `masked_vq.loss`.
    """
    del key
    z = mlp(params["encoder"], x[None])[0]
    inputs, codes = residuals(params["codebook"], z)
    quantized = codebook.lookup(params["codebook"], codes)
    rebuilt = mlp(params["decoder"], codebook.straight_through(z, quantized.sum(0))[None])[0]
    return total_loss(x, rebuilt, inputs, quantized, config), (parts(x, rebuilt, inputs, quantized), inputs, codes)
