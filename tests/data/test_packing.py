"""Packing: every example once, in rows that hold it; any batch by its number; the same for any number of processes."""

import itertools
import time

import numpy as np
import pytest

from jaxrec.data import packing
from jaxrec.types import Batch


class Made:
    """Example i of epoch e has source tokens 1000 i + e + 1, 1000 i + e + 2, ... and target tokens i + 1."""

    def __init__(self, source: np.ndarray, target: np.ndarray) -> None:
        self.source, self.target = source.astype(np.int32), target.astype(np.int32)

    def __len__(self) -> int:
        return len(self.source)

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        return self.source, self.target

    def build(self, indices: np.ndarray, epoch: int):
        source, target = self.source[indices], self.target[indices]
        source_offsets, target_offsets = (np.concatenate([[0], np.cumsum(n)]) for n in (source, target))
        within = np.arange(source_offsets[-1]) - np.repeat(source_offsets[:-1], source)
        return (
            np.repeat(1000 * indices + epoch, source) + within + 1,
            source_offsets,
            np.repeat(indices + 1, target),
            target_offsets,
        )


def make_examples(n: int = 200, seed: int = 0) -> Made:
    rng = np.random.default_rng(seed)
    return Made(rng.integers(3, 30, n), rng.integers(1, 6, n))


def unpack(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """The examples of a batch, read back row by row in plain Python."""
    examples = []
    for source, source_segments, target, target_segments in zip(
        batch.source, batch.source_segments, batch.target, batch.target_segments
    ):
        for segment in range(1, source_segments.max() + 1):
            examples.append((source[source_segments == segment].tolist(), target[target_segments == segment].tolist()))
    return examples


def settings(**changes):
    return {"rows": 4, "source_length": 64, "target_length": 12, "seed": 3, **changes}


def same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(vars(a)[name], vars(b)[name]) for name in vars(a))


def test_next_fit_by_hand() -> None:
    # Rows 6 3 | 4 5 | 9 | 1 1: sources end the first two, the third is full in target tokens (4) before it is in
    # source tokens (9 + 1 would fit).
    source, target = np.array([6, 3, 4, 5, 9, 1, 1]), np.array([1, 1, 1, 3, 4, 1, 1])
    plan = packing.plan_epoch(source, target, np.arange(7), (10, 4), rows=3)
    np.testing.assert_array_equal(plan.starts, [0, 2, 4, 5, 7])
    assert plan.batches == 2


def test_next_fit_equals_a_greedy_loop() -> None:
    examples = make_examples(500)
    order = np.random.default_rng(1).permutation(500)
    starts, room = [0], (64, 12)
    for place, example in enumerate(order):
        need = examples.source[example], examples.target[example]
        if need[0] > room[0] or need[1] > room[1]:
            starts.append(place)
            room = (64, 12)
        room = room[0] - need[0], room[1] - need[1]
    plan = packing.plan_epoch(examples.source, examples.target, order, (64, 12), rows=4)
    np.testing.assert_array_equal(plan.starts, [*starts, 500])


def test_a_batch_by_hand() -> None:
    examples = Made(np.array([2, 2]), np.array([1, 1]))
    dataset = packing.packed(examples, rows=2, source_length=5, target_length=3, seed=0)
    batch = next(iter(dataset))
    first, second = batch.target[0, :2] - 1  # the order is drawn
    np.testing.assert_array_equal(
        batch.source,
        [[1000 * first + 1, 1000 * first + 2, 1000 * second + 1, 1000 * second + 2, 0], [0] * 5],
    )
    np.testing.assert_array_equal(batch.source_segments, [[1, 1, 2, 2, 0], [0] * 5])
    np.testing.assert_array_equal(batch.target_segments, [[1, 2, 0], [0] * 3])
    np.testing.assert_array_equal(batch.weights, [[1, 1, 0], [0] * 3])
    assert batch.source.dtype == batch.target_segments.dtype == np.int32
    assert batch.weights.dtype == np.float32
    assert packing.count_examples(batch) == {"examples": 2, "tokens": 6}


def test_every_example_comes_once_an_epoch() -> None:
    examples = make_examples()
    dataset = packing.packed(examples, **settings())
    numbers = []
    for batch in itertools.islice(iter(dataset), dataset.steps_per_epoch):
        for source, target in unpack(batch):
            example = target[0] - 1
            numbers.append(example)
            assert source == [1000 * example + k + 1 for k in range(examples.source[example])]
            assert target == [example + 1] * examples.target[example]
    assert sorted(numbers) == list(range(200))
    assert numbers != sorted(numbers)


def test_the_next_epoch_has_another_order_and_knows_its_number() -> None:
    examples = make_examples()
    dataset = packing.packed(examples, **settings())
    batches = list(itertools.islice(iter(dataset), 2 * dataset.steps_per_epoch + 2))
    packed_examples = [example for batch in batches for example in unpack(batch)]
    first, second = packed_examples[:200], packed_examples[200:400]
    assert [t[0] for _, t in first] != [t[0] for _, t in second]
    assert sorted(t[0] for _, t in second) == list(range(1, 201))
    assert all(source[0] % 1000 == 2 for source, _ in second)  # epoch 1


def test_rows_are_dense() -> None:
    rng = np.random.default_rng(0)
    examples = Made(rng.integers(20, 60, 5000), rng.integers(3, 5, 5000))
    dataset = packing.packed(examples, rows=16, source_length=512, target_length=64, seed=0)
    assert dataset.density[0] > 0.9
    batch = next(iter(dataset))
    assert np.mean(batch.source_segments > 0) > 0.9


def test_the_seed_decides() -> None:
    batches = [next(iter(packing.packed(make_examples(), **settings(seed=seed)))) for seed in (3, 3, 4)]
    assert same(batches[0], batches[1])
    assert not same(batches[0], batches[2])


def test_resumes_in_the_middle_of_a_later_epoch() -> None:
    dataset = packing.packed(make_examples(), **settings())
    iterator = iter(dataset)
    for _ in range(dataset.steps_per_epoch + 3):
        next(iterator)
    state = iterator.get_state()
    expected = [next(iterator) for _ in range(4)]
    resumed = iter(packing.packed(make_examples(), **settings()))
    resumed.set_state(state)
    assert all(same(next(resumed), batch) for batch in expected)


def test_two_processes_make_one_global_batch() -> None:
    whole = iter(packing.packed(make_examples(), **settings()))
    parts = [iter(packing.packed(make_examples(), **settings(), process_index=p, process_count=2)) for p in (0, 1)]
    for _ in range(20):  # crosses the end of an epoch, where rows are empty
        expected, halves = next(whole), [next(part) for part in parts]
        joined = Batch(*(np.concatenate([vars(half)[name] for half in halves]) for name in vars(expected)))
        assert same(joined, expected)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"example 1 has 70 source tokens.*source_length=64"):
        packing.packed(Made(np.array([3, 70]), np.array([1, 1])), **settings())
    with pytest.raises(ValueError, match="target_length=12"):
        packing.packed(Made(np.array([3, 4]), np.array([13, 1])), **settings())
    with pytest.raises(ValueError, match="rows=4 doesn't divide among 3"):
        packing.packed(make_examples(), **settings(), process_count=3)
    with pytest.raises(ValueError, match="no examples"):
        packing.packed(make_examples(0), **settings())


def test_examples_longer_than_they_said_are_refused() -> None:
    class Liar(Made):
        def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
            return self.source // 3, self.target

    dataset = packing.packed(Liar(np.full(50, 30), np.ones(50)), **settings())
    with pytest.raises(ValueError, match="more tokens than lengths"):
        next(iter(dataset))


def test_packs_fast_enough_to_feed_a_device() -> None:
    rng = np.random.default_rng(0)
    examples = Made(rng.integers(20, 60, 50_000), rng.integers(3, 5, 50_000))
    dataset = packing.packed(examples, rows=64, source_length=512, target_length=64, seed=0)
    iterator, began, seen = iter(dataset), time.perf_counter(), 0
    while seen < 20_000:
        seen += packing.count_examples(next(iterator))["examples"]
    assert seen / (time.perf_counter() - began) > 10_000  # far below what one core does, for busy machines
