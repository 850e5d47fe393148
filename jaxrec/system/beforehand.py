"""What can be known before training: whether devices, memory and data are enough for it."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from flax import nnx

from jaxrec.config import Config, TrainConfig
from jaxrec.hub.registry import backbone
from jaxrec.platform import memory_of_devices
from jaxrec.types import DataError, Interactions, Split

LISTED = 10
"""Items that validation by NDCG@10 lists."""


def check_devices(train: TrainConfig, devices: int) -> None:
    """Checks that the mesh fits the devices, and the batch the mesh.

    Args:
      train: mesh and rows.
      devices: how many there are.
    Raises:
      ValueError: there are too few devices, or the rows don't divide over them.
    """
    wanted = max(train.data_parallel, 1) * train.model_parallel
    if wanted > devices:
        raise ValueError(
            f"train.data_parallel={train.data_parallel} and model_parallel={train.model_parallel} need {wanted} "
            f"devices, and there are {devices}; lower one of them (data_parallel 0 takes what is there)"
        )
    data = train.data_parallel or devices // train.model_parallel
    if train.rows % data:
        raise ValueError(
            f"train.rows={train.rows} doesn't divide over the {data} devices of the mesh's data axis; give a multiple, "
            "or set train.data_parallel"
        )


def check_memory(config: Config) -> None:
    """Checks that weights, gradients and moments of a model with random weights, and a batch, can fit the memory.

    What they need at least is known from shapes alone: four float32 arrays of each trained weight's size, and the input
    of the first layer and its gradient. A training needs more than that.

    Raises:
      ValueError: there is less memory.
    """
    settings, train = config.model, config.train
    if settings.init_from is not None:
        return  # its sizes are in its own files
    record = backbone(settings.backbone)
    shape = record.shape(settings)
    shape = dataclasses.replace(shape, vocab=max(shape.vocab, config.task.words))
    model = nnx.eval_shape(lambda: record.build(shape, settings, None, shape.vocab, 0, rngs=nnx.Rngs(0)))
    sizes = {kind: _n_bytes(nnx.state(model, kind)) for kind in (nnx.Param, nnx.Not(nnx.Param))}
    trained, other = sizes.values()
    width = max(train.source_length, train.target_length)
    batch = 2 * 4 * train.rows * width * shape.d_model
    weights = 4 * train.members * trained
    needed, there = weights + train.members * other + batch, memory_of_devices()
    if there and needed > there:
        name = "t5" if settings.backbone == "t5" else "llama"
        needs, of_weights, of_batch, has = (f"{n / 2**30:,.1f}" for n in (needed, weights, batch, there))
        raise ValueError(
            f"training needs at least {needs} GB: {of_weights} for weights, gradients and moments, and {of_batch} for "
            f"a batch of {train.rows} x {width} tokens; the devices have {has}. Lower sizes of model.{name} "
            f"(d_model={shape.d_model}), train.members, train.rows, train.source_length or train.target_length"
        )


def _n_bytes(tree: nnx.State) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def check_data(config: Config, data: Interactions, split: Split) -> None:
    """Checks that the data is enough for the tasks and ids of a run.

    Raises:
      DataError: there are fewer than ten items, or nobody has an item to validate or test by.
      ValueError: there are more clusters than users and items.
    """
    source = config.data.path or config.data.name
    if config.task.ranking:
        if data.n_items < LISTED:
            raise DataError(
                f"{source} has {data.n_items} items; tasks that rank items need at least {LISTED}, which validation "
                "lists: take more data, or lower data.k_core"
            )
        for part in ("valid", "test"):
            if not np.any(split.target(part) >= 0):
                raise DataError(f"{source} has no user with a {part} item; take more data, or another data.split")
    clustered = {"both": data.n_users + data.n_items, "items": data.n_items, "users": data.n_users}
    rows = clustered[config.ids.entities]
    if config.ids.kind in ("meta_id", "spectral", "dbscan") and config.ids.clusters > rows:
        raise ValueError(
            f"ids.clusters={config.ids.clusters} exceeds the {rows} "
            f"{'users and items' if config.ids.entities == 'both' else config.ids.entities} that are clustered; lower "
            "it, or set 0, the root of their number"
        )
