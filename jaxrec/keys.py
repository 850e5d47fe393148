"""Named random streams: one seed, one independent key per stage, no global generators."""

from __future__ import annotations

import zlib

import jax
import numpy as np


def stream(key: jax.Array, name: str) -> jax.Array:
    """A key of its own for the stage called `name`; equal names give equal keys.

    Args:
      key: the run's key, made by `jax.random.key(seed)`.
      name: what the stream is for, for instance "walks".
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def generator(seed: int, name: str) -> np.random.Generator:
    """The host's counterpart of `stream`: a NumPy generator for the stage called `name`."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
