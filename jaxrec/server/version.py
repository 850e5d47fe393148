"""Which model answers: a hash of config and weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import jax
import numpy as np
from flax import nnx

from jaxrec.system.system import System

DIGITS = 12
"""Hexadecimal digits of a version."""


def version_of(system: System) -> str:
    """The first digits of a SHA-256 of config and weights, wherever the run's folder lies."""
    config = dataclasses.asdict(system.config)
    config.pop("out")
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for path, value in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(system.model))):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(jax.device_get(value)).tobytes())
    return digest.hexdigest()[:DIGITS]
