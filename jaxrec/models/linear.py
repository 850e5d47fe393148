"""Linear layers with a bias or without, frozen and adapted by LoRA or trained whole; Hu et al. 2022."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrec.config import LoraConfig
from jaxrec.models.dropout import Dropout
from jaxrec.models.oov import weight
from jaxrec.models.products import projected


def frozen_dtype(lora: LoraConfig) -> str | None:
    """The dtype of a frozen base model, or None where all is trained."""
    return lora.base_dtype if lora.rank else None


class LowRank(nnx.Module):
    """What LoRA adds to a linear map: alpha / rank * x A B, which is nothing at the start.

    Args:
      rows, columns: shape of the map that is adapted.
      lora: rank and alpha.
      dtype: of the products' operands.
    """

    def __init__(self, rows: int, columns: int, lora: LoraConfig, dtype: str, *, rngs: nnx.Rngs) -> None:
        self.a = nnx.Param(jax.random.normal(rngs.params(), (rows, lora.rank)) / lora.rank)
        self.b = nnx.Param(jnp.zeros((lora.rank, columns)))
        self.scale = lora.alpha / lora.rank
        self.dtype = dtype

    def __call__(self, x: jax.Array, drop: Dropout) -> jax.Array:
        """[...,rows] -> [...,columns]."""
        return self.scale * projected(projected(drop(x), self.a[...], self.dtype), self.b[...], self.dtype)

    def of_tokens(self, tokens: jax.Array) -> jax.Array:
        """What the rows of an embedding table receive, i32[...] -> f32[...,columns]."""
        return self.scale * projected(self.a[...][tokens], self.b[...], self.dtype)

    def whole(self) -> jax.Array:
        """The product that may be added to the map itself, f32[rows,columns]."""
        return self.scale * jnp.dot(self.a[...], self.b[...], precision=jax.lax.Precision.HIGHEST)


class Linear(nnx.Module):
    """x W + b, and with LoRA + alpha / rank * x A B beside a frozen W and b.

    Args:
      rows, columns: the kernel's shape; entries start normal with deviation rows ** -0.5.
      dtype: of the products' operands.
      bias: whether there is a bias.
      lora: its rank says whether kernel and bias are frozen.
      adapted: whether LoRA then adapts this layer.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        dtype: str,
        *,
        bias: bool = False,
        lora: LoraConfig,
        adapted: bool,
        rngs: nnx.Rngs,
    ) -> None:
        frozen = frozen_dtype(lora)
        self.kernel = weight(jax.random.normal(rngs.params(), (rows, columns)) * rows**-0.5, frozen)
        self.bias = weight(jnp.zeros(columns), frozen) if bias else None
        self.adapter = LowRank(rows, columns, lora, dtype, rngs=rngs) if lora.rank and adapted else None
        self.dtype = dtype

    def __call__(self, x: jax.Array, drop: Dropout) -> jax.Array:
        """[...,rows] -> [...,columns]; `drop` is LoRA's."""
        y = projected(x, self.kernel[...].astype(jnp.float32), self.dtype)
        if self.bias is not None:
            y = y + self.bias[...].astype(y.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        return y if self.adapter is None else y + self.adapter(x, drop)

    def whole(self) -> jax.Array:
        """The kernel with LoRA's part merged in, f32[rows,columns]."""
        kernel = self.kernel[...].astype(jnp.float32)
        return kernel if self.adapter is None else kernel + self.adapter.whole()
