"""Prefetches batches to the device, and keeps the iterator's state of each."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import grain
from jax.sharding import Mesh

from jaxrec.training.sharding import put_batch

Count = Callable[[Any], dict[str, int]]


class Feed:
    """Reads `data` two batches ahead of the training step.

    `position` is the iterator's state after the batch that `next` returned last; the iterator itself is ahead of it.
    """

    AHEAD = 2

    def __init__(self, data: grain.IterDataset, mesh: Mesh, count: Count | None, position: dict | None) -> None:
        self._iterator = iter(data)
        if position is not None:
            self._iterator.set_state(position)
        self._mesh = mesh
        self._count = count or (lambda batch: {})
        self._ready: collections.deque = collections.deque()
        self.position: dict = position or {}

    def _fill(self) -> None:
        while len(self._ready) < self.AHEAD:
            try:
                batch = next(self._iterator)
            except StopIteration:
                return
            counts = self._count(batch)
            self._ready.append((put_batch(batch, self._mesh), counts, self._iterator.get_state()))

    def next(self) -> tuple[Any, dict[str, int]]:
        """The next batch on the device, and the result of `count` for this process's rows.

        Raises:
          ValueError: the data is exhausted.
        """
        self._fill()
        if not self._ready:
            raise ValueError(
                "the data ended before the last step; repeat it (grain's `.repeat()`) or ask for fewer steps"
            )
        batch, counts, self.position = self._ready.popleft()
        return batch, counts
