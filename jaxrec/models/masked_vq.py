"""TokenRec's masked K-way quantizer: K encoders and codebooks, one decoder; a plain VQ-VAE where K is 1."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.config import QuantizerConfig
from jaxrec.keys import stream
from jaxrec.models import codebook
from jaxrec.types import Array

Params = dict[str, Any]
Layers = list[dict[str, jax.Array]]


def init(dim: int, config: QuantizerConfig, *, key: jax.Array) -> Params:
    """Initial weights; `start` then initialises the codebooks from data.

    Args:
      dim: width F of a vector.
      config: codebooks, codewords, width and hidden are read.
      key: random key.
    Returns:
      encoder: layers of w f32[K, in, out] and b f32[K, out], K encoders side by side; codebook: f32[K, L, d_c];
      decoder: three layers with K = 1, as wide as the encoder's last and first hidden layer.
    """
    return {
        "encoder": mlp_init((dim, *config.hidden, config.width), config.codebooks, key=stream(key, "encoder")),
        "codebook": jax.random.normal(stream(key, "codebook"), (config.codebooks, config.codewords, config.width)),
        "decoder": decoder_init(dim, config, key=stream(key, "decoder")),
    }


def decoder_init(dim: int, config: QuantizerConfig, *, key: jax.Array) -> Layers:
    """Fresh weights of the three-layer decoder of eq. (9)."""
    hidden = config.hidden or (config.width,)
    return mlp_init((config.width, hidden[-1], hidden[0], dim), 1, key=key)


def start(params: Params, x: Array, *, key: jax.Array) -> Params:
    """Initialises the codebooks by K-means of the encoders' outputs for vectors f32[n, F]."""
    words = params["codebook"].shape[1]
    return {**params, "codebook": codebook.kmeans(encoded(params, x), words, key=key)}


def mask(x: Array, rho: float, *, key: jax.Array) -> jax.Array:
    """A copy of f32[B, F] in which each entry is 0 with probability rho, drawn for every one; eq. (2) and (3)."""
    return jnp.where(jax.random.bernoulli(key, rho, x.shape), 0.0, x)


def encoded(params: Params, x: Array) -> jax.Array:
    """Outputs of the K encoders for vectors f32[B, F]: f32[K, B, d_c], eq. (4)."""
    return mlp(params["encoder"], x[None])


def encode(params: Params, x: Array) -> jax.Array:
    """Codes of vectors f32[B, F], without a mask: i32[B, K], eq. (7)."""
    return codebook.nearest(params["codebook"], encoded(params, x)).T


def decode(params: Params, codes: Array) -> jax.Array:
    """The vectors f32[B, F] that codes i32[B, K] stand for, eq. (9)."""
    return mlp(params["decoder"], codebook.lookup(params["codebook"], codes.T).mean(0)[None])[0]


def loss(
    params: Params, x: Array, *, config: QuantizerConfig, key: jax.Array
) -> tuple[jax.Array, tuple[dict[str, jax.Array], jax.Array, jax.Array]]:
    """Reconstruction, codebook and commitment loss of masked vectors; TokenRec, eq. (10) to (14).

    Args:
      params: `init`'s weights.
      x: vectors f32[B, F]; the reconstruction targets; the encoders see a masked copy.
      config: mask, beta and ema are used; with ema the codebook loss is only reported, not minimised.
      key: random key of the mask.
    Returns:
      Loss f32[], mean over rows; metrics "reconstruction", "codebook", "commitment" f32[]; what was quantized,
      f32[K, B, d_c]; its codes, i32[K, B].
    """
    masked = mask(x, config.mask, key=key) if config.mask > 0 else x
    a = encoded(params, masked)
    codes = codebook.nearest(params["codebook"], a)
    quantized = codebook.lookup(params["codebook"], codes)
    rebuilt = mlp(params["decoder"], codebook.straight_through(a, quantized).mean(0)[None])[0]
    return total_loss(x, rebuilt, a, quantized, config), (parts(x, rebuilt, a, quantized), a, codes)


def total_loss(x: Array, rebuilt: Array, a: Array, quantized: Array, config: QuantizerConfig) -> jax.Array:
    """Eq. (13) from its parts."""
    each = parts(x, rebuilt, a, quantized)
    learned = 0.0 if config.ema > 0 else each["codebook"]
    return each["reconstruction"] + learned + config.beta * each["commitment"]


def parts(x: Array, rebuilt: Array, a: Array, quantized: Array) -> dict[str, jax.Array]:
    """The terms of eq. (13), each f32[], means over rows."""
    words, commitment = codebook.losses(a, quantized)
    reconstruction = jnp.sum((x - rebuilt) ** 2, -1).mean()
    return {"reconstruction": reconstruction, "codebook": words, "commitment": commitment}


def mlp_init(widths: tuple[int, ...], copies: int, *, key: jax.Array) -> Layers:
    """Layers of `copies` networks side by side, weights by He et al. 2015, biases 0."""
    layers = []
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        w = jax.random.normal(jax.random.fold_in(key, i), (copies, n, m)) * (2.0 / n) ** 0.5
        layers.append({"w": w, "b": jnp.zeros((copies, m))})
    return layers


def mlp(layers: Layers, x: Array) -> jax.Array:
    """K networks at once: f32[K, B, out] of f32[K, B, in], or of f32[1, B, in] that all K share; ReLU between."""
    for i, layer in enumerate(layers):
        if i:
            x = jax.nn.relu(x)
        shared = x.shape[0] == 1
        x = jnp.einsum("bi,kio->kbo" if shared else "kbi,kio->kbo", x[0] if shared else x, layer["w"])
        x = x + layer["b"][:, None]
    return x
