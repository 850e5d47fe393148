"""A layer of self-attention whose output is mixed with a filter of its input along the sequence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrec.config import FilterConfig, LlamaConfig, LoraConfig
from jaxrec.models.grouped_attention import attend_grouped
from jaxrec.models.llama import Drops, Layer
from jaxrec.types import Array


def low_pass(mask_BSS: Array, config: FilterConfig) -> jax.Array:
    """Weights of the low-pass filter, f32[B,S,S]: row s sums what position s sees, by distance.

    The weight at a distance of n positions is (1 + 2 sum_f cos(2 pi f n / period)) / period over the frequencies
    f = 1 .. `frequencies`, and 0 from `period` on. At the end of a sequence that is the projection of its last `period`
    positions, missing ones being zeros, onto the discrete Fourier transform's lowest frequencies.

    Args:
      mask_BSS: which positions each position sees, none after itself, without gaps.
      config: `frequencies` and `period`.
    """
    positions_BS = jnp.sum(mask_BSS, axis=-1)
    distance_BSS = jnp.clip(positions_BS[:, :, None] - positions_BS[:, None], 0, config.period)
    waves = np.arange(config.period)[:, None] * np.arange(1, config.frequencies + 1)[None]
    weights = (1 + 2 * np.cos(2 * np.pi / config.period * waves).sum(axis=1)) / config.period
    table = jnp.asarray(np.append(weights, 0.0), jnp.float32)
    return jnp.where(mask_BSS, table[distance_BSS], 0)


class FilteredLayer(Layer):
    """A layer in whose first half `weight` parts are a filter and 1 - `weight` parts self-attention.

    The filter of a sequence z, the normed input, is low(z) + beta^2 (z - low(z)), where low is `low_pass` and beta a
    learned number per column (BSARec, Shin et al. 2024; there the filter of a prefix sees all of it at each of its
    positions, here each position sees what is before it, so that all prefixes of a history are learned from at once).

    Args:
      config: the sizes.
      settings: the filter's weight, frequencies and period.
      rngs: its "params" stream initialises.
    """

    def __init__(self, config: LlamaConfig, settings: FilterConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, LoraConfig(), rngs=rngs)
        self.settings = settings
        self.filter_bias = nnx.Param(jax.random.normal(rngs.params(), (config.d_model,)))

    def attend(
        self,
        x_BSD: jax.Array,
        q_BHSK: jax.Array,
        k_BhSK: jax.Array,
        v_BhSK: jax.Array,
        mask_BSS: jax.Array,
        drops: Drops,
        weights: list[jax.Array] | None = None,
    ) -> jax.Array:
        """The layer from `project` on, f32[B,S,D]; all positions of the sequences have to be there."""
        attended_BHSK = attend_grouped(q_BHSK, k_BhSK, v_BhSK, mask_BSS, drops.hidden, self.dtype, weights)
        attended_BSD, z_BSD = self.attention.merge(attended_BHSK, drops.adapter), self.attention_norm(x_BSD)
        low_BSD = jnp.einsum("bst,btd->bsd", low_pass(mask_BSS, self.settings), z_BSD)
        filtered_BSD = low_BSD + jnp.square(self.filter_bias[...])[None, None] * (z_BSD - low_BSD)
        share = self.settings.weight
        x_BSD = x_BSD + drops.hidden(share * filtered_BSD + (1 - share) * attended_BSD)
        return x_BSD + drops.hidden(self.feed_forward(self.feed_forward_norm(x_BSD), drops.adapter))
