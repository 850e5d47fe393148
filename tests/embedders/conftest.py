"""Events with clusters that embedders of the graph are to find."""

import numpy as np
import pytest

from jaxrec.types import Histories

CLUSTERS = 4


@pytest.fixture(scope="module")
def planted() -> Histories:
    """80 users and 40 items in 4 clusters, 90% of events inside a cluster; user 80 and item 40 have none."""
    rng = np.random.default_rng(0)
    items = 10 * (np.arange(80)[:, None] % CLUSTERS) + rng.integers(0, 10, (80, 8))
    items = np.where(rng.random((80, 8)) < 0.1, rng.integers(0, 40, (80, 8)), items)
    return Histories(np.append(np.arange(81) * 8, 640), items.reshape(-1).astype(np.int32), 41)
