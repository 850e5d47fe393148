"""Decoder-only models of the LLaMA family."""

from __future__ import annotations

from flax import nnx


class Llama(nnx.Module):
    """Being written."""
