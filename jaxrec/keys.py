"""Named random streams: from one seed an independent key or generator for each stage."""

from __future__ import annotations

import zlib

import jax
import numpy as np


def stream(key: jax.Array, name: str) -> jax.Array:
    """The key of a named stage; independent for different names, the same for the same name.

    Args:
      key: the run's key, made by `jax.random.key(seed)`.
      name: of the stage, for instance "walks".
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def generator(seed: int, name: str) -> np.random.Generator:
    """The NumPy counterpart of `stream`: a generator for the stage `name` of a run with this seed."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
