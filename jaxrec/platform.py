"""The kind of device that a function is compiled for, where its form depends on that, and the devices' memory."""

from __future__ import annotations

import contextlib
import contextvars
import os
import pathlib
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


def memory_of_devices() -> int:
    """Bytes of memory of all devices together, or of the machines where devices are their CPUs; 0: unknown."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return jax.process_count() * sum((device.memory_stats() or {}).get("bytes_limit", 0) for device in devices)
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return jax.process_count() * min([machine, *_limits_of_containers()])


def _limits_of_containers() -> list[int]:
    """Limits that Linux control groups set, version 2 and 1."""
    files = (pathlib.Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes"))
    texts = [file.read_text().strip() for file in files if file.is_file()]
    return [int(text) for text in texts if text.isdigit()]
