"""The mesh, and one table of rules that says how each array lies on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

Rules = Sequence[tuple[str, PartitionSpec]]


def make_mesh(data_parallel: int = 0, model_parallel: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with the axes `data` (batches) and `model` (embedding tables).

    Args:
      data_parallel: size of `data`; 0 takes all devices that `model_parallel` leaves.
      model_parallel: size of `model`.
      devices: default all, of every process.
    Raises:
      ValueError: the devices can't be laid out so.
    """
    devices = list(devices if devices is not None else jax.devices())
    data_parallel = data_parallel or len(devices) // model_parallel
    wanted = data_parallel * model_parallel
    if not 1 <= wanted <= len(devices):
        raise ValueError(
            f"data_parallel={data_parallel} x model_parallel={model_parallel} wants {wanted} devices, "
            f"there are {len(devices)}; lower one of them"
        )
    # Explicit axes, jax's default, would ask every gather in a model for an output sharding.
    axes = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((data_parallel, model_parallel), ("data", "model"), axis_types=axes, devices=devices[:wanted])


def single_device_mesh() -> Mesh:
    """A mesh of this process's default device alone."""
    return make_mesh(1, 1, jax.local_devices()[:1])


def path_name(path: tuple[Any, ...]) -> str:
    """A parameter's name for rules: the keys of its path joined by "/", as in `encoder/layers/0/query`."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def shardings(tree: Any, mesh: Mesh, rules: Rules) -> Any:
    """How each array of `tree` lies on the mesh.

    Args:
      tree: arrays or their shapes.
      mesh: see `make_mesh`.
      rules: (regular expression, PartitionSpec) pairs; the first that is found in an array's name holds. Arrays
        that no rule names are on every device.
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
    """Optimizer moments lie as their parameters do; counters are on every device.

    Args:
      opt_state: arrays or shapes; an array whose path ends with a parameter's path, and has its shape, follows it.
      params: arrays or shapes.
      placed: `shardings` of `params`.
      mesh: see `make_mesh`.
    Returns:
      A pytree of NamedSharding like `opt_state`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    table = {(path, leaf.shape): place for (path, leaf), place in zip(leaves, jax.tree.leaves(placed))}
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(path, leaf) -> NamedSharding:
        found = (table.get((path[start:], leaf.shape)) for start in range(len(path)))
        return next((f for f in found if f is not None), everywhere)

    return jax.tree_util.tree_map_with_path(place, opt_state)


def put(tree: Any, placed: Any, *, copies: bool = True) -> Any:
    """Host or device arrays laid out as `placed`; every process holds the same values in `tree`.

    Args:
      tree: arrays.
      placed: a NamedSharding for each.
      copies: whether to copy what lies right already, as for a step that donates its state: that must not be anyone
        else's array.
    """

    def copy(x, sharding: NamedSharding):
        if sharding.is_fully_addressable:
            if copies and isinstance(x, jax.Array) and x.sharding != sharding:
                x = jnp.copy(x)  # may_alias alone does not keep a replica from being the array it was made of
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
    """Which block of a batch's rows this process reads, and how many blocks there are: (index, count).

    Processes that differ only along `model` read the same rows.

    Raises:
      ValueError: the rows of this process are no block of their own.
    """
    here = jax.process_index()
    mine = np.flatnonzero([any(d.process_index == here for d in line) for line in mesh.devices])
    count, left = divmod(mesh.shape["data"], len(mine))
    if left or mine[0] % len(mine) or mine[-1] - mine[0] + 1 != len(mine):
        raise ValueError(
            f"process {here} holds the parts {mine.tolist()} of mesh axis 'data'; they have to be one block"
        )
    return int(mine[0]) // len(mine), count
