"""A split small enough to check by eye."""

import numpy as np
import pytest

from jaxrec.types import Histories, Split


def ragged(rows: list[list[int]], n_items: int) -> Histories:
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Histories(offsets, np.array([i for r in rows for i in r], np.int32), n_items)


@pytest.fixture
def split() -> Split:
    """Eleven users over twelve items; user 3 has no target, user 4 saw the test item before."""
    rng = np.random.default_rng(0)
    train = [rng.choice(12, rng.integers(1, 6), replace=False).tolist() for _ in range(11)]
    valid, test = rng.integers(0, 12, (2, 11)).astype(np.int32)
    train[3], valid[3], test[3] = [], -1, -1
    test[4] = train[4][0]
    return Split.of(
        ragged(train, 12), valid, test, ragged([[i] if i >= 0 else [] for i in valid.tolist()], 12), "strict"
    )
