"""GTN's propagation: vectors that differ little along most edges, and by what it takes along the others."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxrec.models.sparse import Incidence, along_edges, gathered

STEP = 0.5
"""Step of the dual variable. The squared norm of the incidence matrix is below 2, so a step below 1 converges."""


def step(
    nodes: jax.Array, incidence: Incidence, filtered: jax.Array, dual: jax.Array, lambda2: float
) -> tuple[jax.Array, jax.Array]:
    """One layer of `propagate`: E, F f32[R, F], Z f32[C, S, F] and lambda2 to the next F and Z."""
    dual = along_edges(lambda d, z: jnp.clip(z + STEP * d, -lambda2, lambda2), incidence, filtered, dual)
    return nodes - gathered(incidence, dual), dual


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def propagate(nodes: jax.Array, incidence: Incidence, layers: int, lambda2: float) -> jax.Array:
    """Layer K of graph trend filtering (Fan et al. 2022, section 3).

    It approaches min_F 1/2 |F - E|^2 + lambda2 |B F|_1, where E is layer 0, B the incidence matrix and |.|_1 the sum of
    absolute entries. A layer is a proximal alternating predictor-corrector step with step 1 of F and 1/2 of the dual
    variable Z, which start as F = E and Z = 0:

        Z <- clip(Z + 1/2 B F, -lambda2, lambda2)
        F <- E - B' Z

    The last F is the result; as in the released code, layers are not averaged. With lambda2 0 that is E itself; where
    no entry of Z is clipped, a layer is F <- F - 1/2 B'B F, smoothing by half of GCN's normalised Laplacian.

    Args:
      nodes: E, f32[R, F], in the rows of `incidence`.
      incidence: B.
      layers: K, at least 1.
      lambda2: weight of the differences, at least 0.
    Returns:
      f32[R, F].
    """
    return _propagate_forward(nodes, incidence, layers, lambda2)[0]


def _propagate_forward(nodes: jax.Array, incidence: Incidence, layers: int, lambda2: float):
    """The result, and Z after each layer, f32[C, S, F]."""
    filtered, dual, duals = nodes, jnp.zeros((*incidence.ends.shape[:2], nodes.shape[1]), nodes.dtype), []
    for _ in range(layers):
        filtered, dual = step(nodes, incidence, filtered, dual, lambda2)
        duals.append(dual)
    return filtered, (incidence, duals)


def _propagate_backward(layers: int, lambda2: float, saved, gradient: jax.Array) -> tuple[jax.Array, None]:
    """Through the layers from last to first; E is part of every F, and a clipped entry of Z has no gradient."""
    incidence, duals = saved
    of_nodes, of_filtered, of_dual = gradient, gradient, jnp.zeros_like(duals[0])
    for dual in reversed(duals):
        of_dual = along_edges(
            lambda d, g, z: jnp.where(jnp.abs(z) < lambda2, g - d, 0.0), incidence, of_filtered, of_dual, dual
        )
        of_filtered = STEP * gathered(incidence, of_dual)
        of_nodes += of_filtered
    return of_nodes, None


propagate.defvjp(_propagate_forward, _propagate_backward)
