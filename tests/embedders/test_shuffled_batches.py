"""Rounds of shuffled rows, cut into batches."""

import numpy as np

from jaxrec.embedders.shuffled_batches import ShuffledBatches


def test_every_round_visits_every_row_once() -> None:
    rows = np.array([2, 3, 5, 7, 11], np.int32)
    shuffled = ShuffledBatches(rows, batch=3, batches=10, seed=0)
    assert len(shuffled) == 10
    flat = np.concatenate([shuffled[i] for i in range(10)]).reshape(6, 5)
    np.testing.assert_array_equal(np.sort(flat, axis=1), np.tile(rows, (6, 1)))
    assert len(np.unique(flat, axis=0)) > 1, "rounds come in orders of their own"
    np.testing.assert_array_equal(shuffled[7], ShuffledBatches(rows, batch=3, batches=10, seed=0)[7])
    large = ShuffledBatches(rows, batch=12, batches=5, seed=0)
    np.testing.assert_array_equal(np.concatenate([large[i] for i in range(5)])[:30], flat.reshape(-1))
