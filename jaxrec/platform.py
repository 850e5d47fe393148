"""The kind of device that a function is compiled for, where its form depends on that."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)


def platform() -> str:
    """The platform that is traced for, "cpu", "gpu" or "tpu": jax's own unless `compiling_for` names another."""
    return _target.get() or jax.default_backend()


def on_cpu() -> bool:
    """Whether a CPU is compiled for."""
    return platform() == "cpu"


@contextlib.contextmanager
def compiling_for(name: str) -> Iterator[None]:
    """Traces what is inside the `with` block for another platform, to compile it without such a device.

    Args:
      name: "cpu", "gpu" or "tpu".
    """
    token = _target.set(name)
    try:
        yield
    finally:
        _target.reset(token)
