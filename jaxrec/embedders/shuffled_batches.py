"""Shuffled batches with random access, so that runs can resume at any batch."""

from __future__ import annotations

import functools

import grain
import numpy as np

from jaxrec.keys import generator


class ShuffledBatches:
    """Element i is batch i, a pure function of (seed, i). Each round visits every row once in a new random order.

    A batch may span the end of a round.

    Args:
      rows: the values to draw, i32[n], for instance node numbers or event numbers.
      batch: rows per batch.
      batches: number of batches.
      seed: of the orders.
    """

    def __init__(self, rows: np.ndarray, *, batch: int, batches: int, seed: int) -> None:
        self._rows = rows
        self._batch = batch
        self._batches = batches
        # The stream's name is historical; another would change all results.
        self._order = functools.lru_cache(maxsize=2)(
            lambda number: generator(seed, f"walks, round {number}").permutation(rows)
        )

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, index: int) -> np.ndarray:
        """Rows, i32[batch]."""
        number, place = divmod(index * self._batch, len(self._rows))
        pieces = [self._order(number)[place:]]
        while sum(map(len, pieces)) < self._batch:
            number += 1
            pieces.append(self._order(number))
        return np.concatenate(pieces)[: self._batch]

    def dataset(self) -> grain.IterDataset:
        """The batches in order, as the training loop reads them."""
        return grain.MapDataset.source(self).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
