"""The device mesh, and sharding of arrays over it by a table of rules."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrec.platform import platform

Rules = Sequence[tuple[str, PartitionSpec]]


def make_mesh(data_parallel: int = 0, model_parallel: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with the axes `data` (batches) and `model` (embedding tables).

    Args:
      data_parallel: size of `data`; 0 uses all remaining devices.
      model_parallel: size of `model`.
      devices: default all, of every process.
    Raises:
      ValueError: there are too few devices.
    """
    devices = list(devices if devices is not None else jax.devices())
    data_parallel = data_parallel or len(devices) // model_parallel
    count = data_parallel * model_parallel
    if not 1 <= count <= len(devices):
        raise ValueError(
            f"data_parallel={data_parallel} x model_parallel={model_parallel} needs {count} devices, "
            f"there are {len(devices)}; lower one of them"
        )
    # Explicit axes, jax's default, would require an output sharding for every gather in a model.
    axes = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((data_parallel, model_parallel), ("data", "model"), axis_types=axes, devices=devices[:count])


def single_device_mesh() -> Mesh:
    """A mesh of this process's default device."""
    return make_mesh(1, 1, jax.local_devices()[:1])


def tracing_over(mesh: Mesh) -> AbstractContextManager[Any]:
    """Makes the mesh jax's own for kernels that the compiler can't divide by itself, which only a TPU has."""
    return jax.set_mesh(mesh) if mesh.size > 1 and platform() == "tpu" else contextlib.nullcontext()


def path_name(path: tuple[Any, ...]) -> str:
    """A parameter's name for rules: the keys of its path joined by "/", as in `encoder/layers/0/query`."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def shardings(tree: Any, mesh: Mesh, rules: Rules) -> Any:
    """The sharding of each array of `tree`.

    Args:
      tree: arrays or their shapes.
      mesh: see `make_mesh`.
      rules: (regular expression, PartitionSpec) pairs; the first that matches an array's name applies. Other arrays
        are replicated.
    Returns:
      A pytree of NamedSharding like `tree`.
    Raises:
      ValueError: an axis doesn't divide over its part of the mesh.
    """

    def place(path, leaf) -> NamedSharding:
        name = path_name(path)
        for pattern, spec in rules:
            if re.search(pattern, name):
                _check_divides(name, leaf.shape, spec, mesh)
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(place, tree)


def _check_divides(name: str, shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> None:
    if len(spec) > len(shape):
        raise ValueError(f"{name} has shape {shape}, too few axes for the sharding rule {spec}; narrow its pattern")
    for size, axis in zip(shape, spec):
        if axis is not None and size % (parts := mesh.shape[axis]):
            raise ValueError(
                f"{name} {shape}: {size} doesn't divide over the {parts} devices of mesh axis {axis!r}; "
                f"pad it to a multiple of {parts} or make the axis smaller"
            )


def follow(opt_state: Any, params: Any, placed: Any, mesh: Mesh) -> Any:
    """Shardings of the optimizer state: moments like their parameters, counters replicated.

    Args:
      opt_state: arrays or shapes; an array whose path ends with a parameter's path and has its shape gets its sharding.
      params: arrays or shapes.
      placed: `shardings` of `params`.
      mesh: see `make_mesh`.
    Returns:
      A pytree of NamedSharding like `opt_state`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    sharding_of = {(path, leaf.shape): place for (path, leaf), place in zip(leaves, jax.tree.leaves(placed))}
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(path, leaf) -> NamedSharding:
        candidates = (sharding_of.get((path[start:], leaf.shape)) for start in range(len(path)))
        return next((sharding for sharding in candidates if sharding is not None), everywhere)

    return jax.tree_util.tree_map_with_path(place, opt_state)


def put(tree: Any, placed: Any, *, copies: bool = True) -> Any:
    """Puts host or device arrays on devices as `placed`; every process has the same values in `tree`.

    Args:
      tree: arrays.
      placed: a NamedSharding for each.
      copies: whether to copy arrays that are already placed, needed if a step donates them.
    """

    def copy(x, sharding: NamedSharding):
        if sharding.is_fully_addressable:
            if copies and isinstance(x, jax.Array) and x.sharding != sharding:
                x = jnp.copy(x)  # may_alias alone does not prevent a replica from aliasing its source
            return jax.device_put(x, sharding, may_alias=not copies)
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(copy(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))
        host = np.array(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    return jax.tree.map(copy, tree, placed)


def put_batch(batch: Any, mesh: Mesh) -> Any:
    """A process's rows of a batch (numpy, leading axis B/processes) as global arrays, leading axis over `data`."""
    by_row = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(x):
        x = np.asarray(x)
        return jax.make_array_from_process_local_data(by_row if x.ndim else everywhere, x)

    return jax.tree.map(place, batch)


def share_of_data(mesh: Mesh) -> tuple[int, int]:
    """The block of a batch's rows that this process reads, and the number of blocks: (index, count).

    Processes that differ only along `model` read the same rows.

    Raises:
      ValueError: the rows of this process are not one block.
    """
    process = jax.process_index()
    own_rows = np.flatnonzero([any(d.process_index == process for d in line) for line in mesh.devices])
    count, left = divmod(mesh.shape["data"], len(own_rows))
    if left or own_rows[0] % len(own_rows) or own_rows[-1] - own_rows[0] + 1 != len(own_rows):
        raise ValueError(
            f"process {process} holds the parts {own_rows.tolist()} of mesh axis 'data'; they have to be one block"
        )
    return int(own_rows[0]) // len(own_rows), count
