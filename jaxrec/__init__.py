"""Recommenders whose users and items are new tokens of a language model, in JAX."""

__version__ = "0.1.0"
