"""Augmented pieces: what each operation may change, and that draws depend on seed, member and epoch alone."""

import numpy as np
import pytest

from jaxrec.config import AugmentConfig
from jaxrec.tasks.augmentation import LEAST, AugmentedPieces
from jaxrec.tasks.pieces import Pieces, cut
from jaxrec.types import Histories


@pytest.fixture(scope="module")
def pieces() -> Pieces:
    sizes = np.random.default_rng(0).integers(2, 30, 200)
    histories = Histories(np.append(0, np.cumsum(sizes)), np.zeros(sizes.sum(), np.int32), 1)
    return cut(histories, 20)


def rows(pieces: Pieces, epoch: int = 0, *, seed: int = 0, **config: float) -> list[np.ndarray]:
    events, offsets = AugmentedPieces(pieces, AugmentConfig(**config), seed).events(epoch)
    return np.split(events, offsets[1:-1])


def test_without_augmentation_pieces_are_whole(pieces: Pieces) -> None:
    for row, start, size in zip(rows(pieces, 3), pieces.start, pieces.size, strict=True):
        np.testing.assert_array_equal(row, np.arange(start, start + size + 1))


def test_a_crop_is_a_part_of_at_least_half(pieces: Pieces) -> None:
    cropped = rows(pieces, crop=0.999)
    for row, start, size in zip(cropped, pieces.start, pieces.size, strict=True):
        np.testing.assert_array_equal(np.diff(row), 1)
        assert start <= row[0] <= row[-1] <= start + size
        assert len(row) >= min(max((size + 1) / 2, LEAST), size + 1)
    assert sum(map(len, cropped)) < 0.85 * (pieces.size + 1).sum()


def test_dropped_events_leave_two(pieces: Pieces) -> None:
    dropped = rows(pieces, drop=0.3)
    assert min(map(len, dropped)) >= 2
    assert all((np.diff(row) > 0).all() for row in dropped)
    assert 0.65 < sum(map(len, dropped)) / (pieces.size + 1).sum() < 0.75


def test_a_shuffle_moves_events_by_one_place_at_most(pieces: Pieces) -> None:
    shuffled = rows(pieces, shuffle=0.999)
    for row, start, size in zip(shuffled, pieces.start, pieces.size, strict=True):
        np.testing.assert_array_equal(np.sort(row), np.arange(start, start + size + 1))
        assert abs(row - np.arange(start, start + size + 1)).max() <= 1
    assert np.mean([(np.diff(row) < 0).any() for row in shuffled]) > 0.7


def test_draws_repeat_and_differ_by_epoch_and_seed(pieces: Pieces) -> None:
    everything = {"crop": 0.3, "drop": 0.1, "shuffle": 0.3}
    augmented = AugmentedPieces(pieces, AugmentConfig(**everything), 0)
    first, second = augmented.events(0)[0], augmented.events(1)[0]
    assert not np.array_equal(first, second)
    for epoch in (5, 0):  # whatever was asked in between
        again = augmented.events(epoch)[0]
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(np.concatenate(rows(pieces, seed=1, **everything)), first)
