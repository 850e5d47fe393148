"""Functions of rows whose result for a row does not depend on the other rows of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.tokenizers.quantizers import kmeans
from jaxrec.types import Array

BLOCK = 2048
"""Rows at a time: always as many, so that a row's code does not depend on the other rows of a call."""


def in_blocks(function: Callable[[Any, Array], jax.Array], params: Any, rows: np.ndarray) -> np.ndarray:
    """function(params, rows) on blocks of BLOCK rows, the last filled up with zeros."""
    params = jax.tree.map(jnp.asarray, params)
    parts = []
    for begin in range(0, max(len(rows), 1), BLOCK):
        part = rows[begin : begin + BLOCK]
        padded = np.concatenate([part, np.zeros((BLOCK - len(part), rows.shape[1]), rows.dtype)])
        parts.append(np.asarray(function(params, jnp.asarray(padded)))[: len(part)])
    return np.concatenate(parts)


def exactly(function: Callable[[Any, Array], jax.Array]) -> Callable[[Any, Array], jax.Array]:
    """Jitted, in full single precision also where products are faster with less: codes depend on small differences."""

    def call(params: Any, rows: Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return function(params, rows)

    return jax.jit(call)


def nearest_direction(directions: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which of the directions f32[G,F] is nearest by cosine to each row f32[m,F], i32[m]."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return in_blocks(_nearest, directions, rows / np.where(norm > 0, norm, 1))[:, 0]


_nearest = exactly(lambda directions, units: kmeans.nearest(units, directions)[0][:, None])
