"""Matrix products whose operands have the compute dtype, forward and backward, and whose sums are float32."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxrec.platform import on_cpu


def dense(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """A linear map of the last axis: [..., d] times f32[d, f] gives f32[..., f].

    The other axes are made one first: a product of two matrices needs no copies in its backward pass on CPU, where one
    of three axes was half as fast.

    Args:
      x: f32[..., d].
      kernel: f32[d, f].
      dtype: of the operands, "float32" or "bfloat16".
    """
    rows = x.reshape(-1, x.shape[-1])
    return product("td,df->tf", rows, kernel, dtype).reshape(*x.shape[:-1], kernel.shape[1])


def activations(dtype: str) -> str:
    """The dtype of what passes between layers that compute in `dtype`: that one or, on a CPU, float32.

    On an accelerator the traffic with memory limits a layer, so half the bytes count; a CPU would convert at each use.
    """
    return "float32" if on_cpu() else dtype


def projected(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """`dense` inside a model: the sums are float32, the result has the dtype of `activations`."""
    return dense(x, kernel, dtype).astype(activations(dtype))


def product(equation: str, a: jax.Array, b: jax.Array, dtype: str) -> jax.Array:
    """An einsum of two arrays with operands in `dtype` and sums and result in float32, in the backward pass too.

    Under bfloat16, autodiff alone would multiply float32 cotangents and miss the fast units; here the cotangent is
    rounded as the operands are.

    Args:
      equation: of two operands; every letter stands in exactly two of the three terms, or in all of them.
      a: the first operand, of any float dtype.
      b: the second operand.
      dtype: "float32" or "bfloat16".
    Returns:
      f32[...].
    """
    if dtype == "float32":
        return jnp.einsum(equation, a, b)
    return _rounded_product(equation, a, b, dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _rounded_product(equation: str, a: jax.Array, b: jax.Array, dtype: str) -> jax.Array:
    return jnp.einsum(equation, a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)


def _rounded_forward(equation: str, a: jax.Array, b: jax.Array, dtype: str):
    like = jnp.zeros(0, a.dtype), jnp.zeros(0, b.dtype)
    a, b = a.astype(dtype), b.astype(dtype)
    return _rounded_product(equation, a, b, dtype), (a, b, *like)


def _rounded_backward(equation: str, dtype: str, residuals: tuple[jax.Array, ...], cotangent: jax.Array):
    (a, b, like_a, like_b), c = residuals, cotangent.astype(dtype)
    in_a, rest = equation.split(",")
    in_b, out = rest.split("->")
    grad_a = jnp.einsum(f"{out},{in_b}->{in_a}", c, b, preferred_element_type=jnp.float32)
    grad_b = jnp.einsum(f"{in_a},{out}->{in_b}", a, c, preferred_element_type=jnp.float32)
    return grad_a.astype(like_a.dtype), grad_b.astype(like_b.dtype)


_rounded_product.defvjp(_rounded_forward, _rounded_backward)
