"""Packs examples into batches; a batch is a pure function of the seed and its number, so that runs can resume."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import grain
import jax
import numpy as np

from jaxrec import keys
from jaxrec.types import Batch


class Examples(Protocol):
    """Source and target token rows of an epoch, which can be built in any order."""

    def __len__(self) -> int:
        """Number of examples, the same in every epoch."""
        ...

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of every example in that epoch: source i32[n], target i32[n]."""
        ...

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of the examples `indices` i64[m], concatenated.

        Returns:
          source tokens i32[*], their offsets i64[m+1], target tokens i32[*], their offsets i64[m+1].
        """
        ...


@dataclasses.dataclass(frozen=True)
class EpochPlan:
    """Which examples share a row in one epoch.

    Attributes:
      order: i64[n], the examples in the order of packing.
      starts: i64[rows+1]; row r holds order[starts[r]:starts[r+1]].
      batches: number of batches; the last one may end in empty rows.
    """

    order: np.ndarray
    starts: np.ndarray
    batches: int


def plan_epoch(
    source: np.ndarray, target: np.ndarray, order: np.ndarray, limits: tuple[int, int], rows: int
) -> EpochPlan:
    """Next-fit packing: a row takes examples in order until the next one no longer fits in source or target.

    Args:
      source: tokens of each example, i32[n].
      target: likewise, i32[n].
      order: a permutation of the examples, i64[n].
      limits: length of a row in source and target tokens.
      rows: rows in a batch.
    """
    index = np.arange(len(order))
    following = np.full(len(order), len(order))  # where the next row starts if one starts here
    for lengths, limit in zip((source, target), limits):
        total = np.concatenate([[0], np.cumsum(lengths[order], dtype=np.int64)])
        following = np.minimum(following, np.searchsorted(total, total[index] + limit, side="right") - 1)
    following = following.tolist()
    starts = [0]
    while starts[-1] < len(order):
        starts.append(following[starts[-1]])
    return EpochPlan(order, np.asarray(starts), -(-(len(starts) - 1) // rows))


class _Batches:
    """The batches of all epochs by number: a grain source with random access."""

    def __init__(
        self,
        examples: Examples,
        rows: int,
        limits: tuple[int, int],
        seed: int,
        stream: str,
        process_index: int,
        process_count: int,
    ) -> None:
        self._examples, self._rows, self._limits = examples, rows, limits
        self._seed, self._stream = seed, stream
        share = rows // process_count
        self._mine = slice(process_index * share, (process_index + 1) * share)
        self._ends: list[int] = []  # batches up to the end of each epoch planned so far
        self._plans: dict[int, EpochPlan] = {}  # the newest two: reading ahead crosses the end of an epoch
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sys.maxsize  # endless epochs; the training loop decides when to stop

    def plan(self, epoch: int) -> EpochPlan:
        if epoch not in self._plans:
            source, target = self._examples.lengths(epoch)
            self._check(source, target)
            order = keys.generator(self._seed, f"{self._stream}/{epoch}").permutation(len(source))
            self._plans[epoch] = plan_epoch(source, target, order, self._limits, self._rows)
            self._plans.pop(epoch - 2, None)
        return self._plans[epoch]

    def _check(self, source: np.ndarray, target: np.ndarray) -> None:
        for name, lengths, limit in zip(("source", "target"), (source, target), self._limits):
            longest = int(np.argmax(lengths))
            if lengths[longest] > limit:
                raise ValueError(
                    f"example {longest} has {lengths[longest]} {name} tokens and a row has {name}_length={limit}; "
                    f"raise {name}_length or shorten the examples"
                )

    def __getitem__(self, index: int) -> Batch:
        with self._lock:
            while not self._ends or self._ends[-1] <= index:
                batches_so_far = self._ends[-1] if self._ends else 0
                self._ends.append(batches_so_far + self.plan(len(self._ends)).batches)
            epoch = int(np.searchsorted(self._ends, index, side="right"))
            plan = self.plan(epoch)
        first = self._ends[epoch - 1] if epoch else 0
        return self._build(plan, (index - first) * self._rows, epoch)

    def _build(self, plan: EpochPlan, first_row: int, epoch: int) -> Batch:
        """The share of this process of the rows first_row ... first_row + rows of one epoch."""
        rows = np.arange(first_row, first_row + self._rows)[self._mine]
        filled = rows[rows < len(plan.starts) - 1]
        begins, sizes = plan.starts[filled], np.diff(plan.starts)[filled]
        row = np.repeat(np.arange(len(filled)), sizes)  # of each example
        opening = np.cumsum(sizes) - sizes  # first example of each filled row
        segment = np.arange(len(row)) - opening[row] + 1
        indices = plan.order[begins[row] + segment - 1]

        def lay(tokens: np.ndarray, offsets: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
            """Concatenated examples -> tokens and segments, i32[rows, length]."""
            values, segments = np.zeros((2, len(rows) * length), np.int32)
            if len(filled):
                counts = np.diff(offsets)
                if np.add.reduceat(counts, opening).max() > length:
                    raise ValueError(f"build() made more tokens than lengths() announced: a row of {length} overflows")
                shift = row * length - offsets[opening][row]  # from a position in `tokens` to one in the rows
                positions = np.repeat(shift, counts) + np.arange(offsets[-1])
                values[positions] = tokens
                segments[positions] = np.repeat(segment, counts)
            return values.reshape(-1, length), segments.reshape(-1, length)

        source, source_offsets, target, target_offsets = self._examples.build(indices, epoch)
        source, source_segments = lay(source, source_offsets, self._limits[0])
        target, target_segments = lay(target, target_offsets, self._limits[1])
        return Batch(source, source_segments, target, target_segments, (target_segments > 0).astype(np.float32))


class _SideBySide:
    """Batches of several sources as one: arrays have a second axis for the sources."""

    def __init__(self, sources: Sequence[_Batches]) -> None:
        self._sources = sources

    def __len__(self) -> int:
        return sys.maxsize

    def plan(self, epoch: int) -> EpochPlan:
        return self._sources[0].plan(epoch)

    def __getitem__(self, index: int) -> Batch:
        batches = [source[index] for source in self._sources]
        return jax.tree.map(lambda *arrays: np.stack(arrays, axis=1), *batches)


class Packed(grain.IterDataset):
    """An endless stream of packed batches; made by `packed`.

    Attributes:
      steps_per_epoch: batches in the first epoch (later ones differ a little, as their order packs differently).
      density: share of the first epoch's source tokens and target tokens that are not padding.
    """

    def __init__(self, batches: _Batches | _SideBySide, examples: Examples, cells: tuple[int, int]) -> None:
        super().__init__()
        self._batches = batches
        self.steps_per_epoch = batches.plan(0).batches
        tokens = examples.lengths(0)
        self.density = tuple(
            float(np.sum(n, dtype=np.int64) / (self.steps_per_epoch * size)) for n, size in zip(tokens, cells)
        )

    def __iter__(self) -> grain.DatasetIterator:
        # One thread: batches are vectorised numpy, and more threads would only contend for the interpreter lock.
        ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=8)
        return iter(grain.MapDataset.source(self._batches).to_iter_dataset(ahead))


def packed(
    examples: Examples | Sequence[Examples],
    *,
    rows: int,
    source_length: int,
    target_length: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Packed:
    """Shuffled, packed batches of `examples`, epoch after epoch, prefetched in a thread.

    Every example comes once per epoch. Batch number n is a pure function of (examples, seed, n), so that iterators
    can resume and any number of processes build the same global batch.

    Args:
      examples: see `Examples`; a sequence of E gives each member of an ensemble examples and an order of its own.
      rows: rows of a global batch.
      source_length: tokens in a source row.
      target_length: tokens in a target row.
      seed: of the order.
      process_index: which of `process_count` equal blocks of each batch's rows to build.
      process_count: number of blocks; `jaxrec.training.sharding.share_of_data` gives both.
    Returns:
      A grain.IterDataset of Batch (numpy), rows/process_count rows each; with E > 1 members, arrays are [rows,E,...].
    Raises:
      ValueError: there are no examples, one is longer than a row, or `rows` doesn't divide among the processes.
    """
    if rows % process_count:
        raise ValueError(f"rows={rows} doesn't divide among {process_count} processes; give a multiple")
    members = list(examples) if isinstance(examples, Sequence) else [examples]
    if not len(members[0]):
        raise ValueError("there are no examples to pack; look at the tasks and at the training histories")
    limits = (source_length, target_length)
    sources = [
        _Batches(
            part,
            rows,
            limits,
            seed,
            f"packing of member {member}" if member else "packing",
            process_index,
            process_count,
        )
        for member, part in enumerate(members)
    ]
    batches = sources[0] if len(sources) == 1 else _SideBySide(sources)
    return Packed(batches, members[0], (rows * source_length, rows * target_length))


def count_examples(batch: Any) -> dict[str, int]:
    """Numbers of examples and of non-padding tokens in a packed Batch: {"examples": n, "tokens": m}."""
    tokens = np.count_nonzero(batch.source_segments) + np.count_nonzero(batch.target_segments)
    return {"examples": int(batch.source_segments.max(axis=-1).sum()), "tokens": int(tokens)}
