"""Augmented histories: pieces of histories with some events left out, in a slightly different order, or cut short."""

from __future__ import annotations

import numpy as np

from jaxrec.config import NO_AUGMENTATION, AugmentConfig
from jaxrec.keys import generator
from jaxrec.tasks.pieces import Pieces
from jaxrec.tasks.ragged import Ragged, ragged_range

LEAST = 3
"""Events that a piece has at least after cropping."""


class AugmentedPieces:
    """The events of pieces of histories, drawn anew every epoch; without augmentation the same in all epochs.

    Args:
      pieces: from `cut`, with `ahead` 1.
      config: what is done with which share of the pieces.
      seed: of the draws.
      stream: name of their random stream.
    """

    def __init__(self, pieces: Pieces, config: AugmentConfig, seed: int, stream: str = "augmentation") -> None:
        self._pieces, self._config = pieces, config
        self._seed, self._stream = seed, stream
        self._drawn: dict[int, Ragged] = {}

    def events(self, epoch: int) -> Ragged:
        """Numbers of the events of each piece in an epoch, at least two: the first is no target, all others are.

        In this order: pieces of more than `LEAST` events are cropped, with probability `crop`, to a random part of half
        their events or more (CL4SRec, Xie et al. 2022); each event is left out with probability `drop`, but none of a
        piece that would keep fewer than two; and, with probability `shuffle`, neighbours in a piece are exchanged at
        random, which moves an event by at most one place.

        Returns:
          Event numbers i64[*] and offsets i64[n+1] of the n pieces.
        """
        epoch = epoch if self._config != NO_AUGMENTATION else 0
        if epoch not in self._drawn:
            self._drawn = {kept: self._drawn[kept] for kept in (epoch - 1, epoch + 1) if kept in self._drawn}
            self._drawn[epoch] = self._draw(generator(self._seed, f"{self._stream}/{epoch}"))
        return self._drawn[epoch]

    def _draw(self, rng: np.random.Generator) -> Ragged:
        config, n = self._config, len(self._pieces.start)
        events, offsets = ragged_range(self._pieces.start, self._pieces.size + 1)
        if config == NO_AUGMENTATION:
            return events, offsets
        sizes = np.diff(offsets)
        crops = (rng.random(n) < config.crop) & (sizes > LEAST)
        kept = np.where(crops, np.maximum(np.ceil(sizes * rng.uniform(0.5, 1, n)), LEAST), sizes).astype(np.int64)
        first = rng.integers(0, sizes - kept + 1)
        events, offsets = ragged_range(self._pieces.start + first, kept)
        piece = np.repeat(np.arange(n), kept)
        stays = rng.random(len(events)) >= config.drop
        stays |= (np.bincount(piece, stays, n) < 2)[piece]
        shuffles = rng.random(n) < config.shuffle
        place = np.arange(len(events)) + rng.uniform(0, 2, len(events)) * shuffles[piece]
        order = np.lexsort((place, piece))
        order = order[stays[order]]
        return events[order], np.append(0, np.cumsum(np.bincount(piece[order], minlength=n)))
