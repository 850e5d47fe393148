"""What can be known before training: whether devices and data are enough for it."""

from __future__ import annotations

import numpy as np

from jaxrec.config import Config, TrainConfig
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
