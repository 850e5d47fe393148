"""Users or items with vectors, ids and histories; the interface of a vector store; Arrow rows with checksums."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from jaxrec.types import Array


@dataclasses.dataclass(frozen=True)
class Entities:
    """Users or items of a store; row n is row n of the accelerator's matrix.

    Attributes:
      names: str[n], unique.
      vectors: f32[n,F], finite; a row of zeros means that the entity has no vector.
      codes: i32[n,L].
      titles: str[n], for display.
      histories: i32[N], the item numbers of all entities' histories, concatenated; items have none.
      offsets: i64[n+1]; the history of entity n is histories[offsets[n]:offsets[n+1]].
    """

    names: np.ndarray
    vectors: np.ndarray
    codes: np.ndarray
    titles: np.ndarray
    histories: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(
        cls,
        names: Any,
        vectors: Array,
        codes: Array | None = None,
        titles: Any = None,
        histories: Any = None,
    ) -> Entities:
        """Entities with defaults: no codes, names as titles, and empty histories (a list of lists)."""
        names = np.asarray(names, object)
        histories = [[]] * len(names) if histories is None else histories
        return cls(
            names,
            np.asarray(vectors, np.float32),
            np.zeros((len(names), 0), np.int32) if codes is None else np.asarray(codes, np.int32),
            names if titles is None else np.asarray(titles, object),
            np.concatenate([np.zeros(0, np.int32), *(np.asarray(h, np.int32) for h in histories)]),
            np.cumsum([0, *(len(h) for h in histories)], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.names)


class VectorStore(Protocol):
    """The interface of a persistent vector store, which another database could implement.

    Tables are "items" and "users". All methods raise ValueError if a table is unknown or damaged.
    """

    @property
    def versions(self) -> dict[str, int]:
        """The version of each table, with which `open` reads this state again."""
        ...

    def upsert(self, table: str, entities: Entities) -> np.ndarray:
        """Inserts entities or replaces those of the same name; returns their numbers, i32[n]."""
        ...

    def read(self, table: str) -> Entities:
        """All entities in the order of their numbers."""
        ...

    def find(self, table: str, name: str) -> int | None:
        """The number of a name, or None."""
        ...

    def search(self, table: str, queries: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers i32[B,k] and cosines f32[B,k] of the nearest entities, best first; padded with -1 and -inf."""
        ...


def schema_of(width: int) -> Any:
    """The Arrow schema of a table of vectors of a width."""
    import pyarrow as pa

    numbers = pa.list_(pa.int32())
    return pa.schema(
        [
            ("number", pa.int32()),
            ("name", pa.string()),
            ("title", pa.string()),
            ("vector", pa.list_(pa.float32(), width)),
            ("codes", numbers),
            ("history", numbers),
            ("check", pa.uint64()),
        ]
    )


def to_arrow(entities: Entities, numbers: np.ndarray) -> Any:
    """Entities as rows of `schema_of`, numbered i32[n]."""
    import pyarrow as pa

    rows, width = entities.vectors.shape
    code_offsets = np.arange(rows + 1, dtype=np.int32) * entities.codes.shape[1]
    columns = [
        pa.array(numbers, pa.int32()),
        pa.array(entities.names.tolist(), pa.string()),
        pa.array(entities.titles.tolist(), pa.string()),
        pa.FixedSizeListArray.from_arrays(entities.vectors.reshape(-1), width),
        pa.ListArray.from_arrays(code_offsets, entities.codes.reshape(-1)),
        pa.ListArray.from_arrays(entities.offsets.astype(np.int32), entities.histories),
        pa.array(check_sums(entities, numbers), pa.uint64()),
    ]
    return pa.Table.from_arrays(columns, schema=schema_of(width))


def from_arrow(rows: Any, width: int) -> Entities:
    """The entities of rows of `schema_of`, in their order."""

    def flat(name: str) -> np.ndarray:
        return rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)

    lengths = rows["history"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    return Entities(
        rows["name"].to_numpy(),
        flat("vector").reshape(len(rows), width),
        flat("codes").reshape(len(rows), -1) if len(rows) else np.zeros((0, 0), np.int32),
        rows["title"].to_numpy(),
        flat("history"),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
    )


def check_entities(entities: Entities, width: int) -> None:
    """Raises ValueError if shapes disagree, a name is repeated or a vector is not finite."""
    count = len(entities)
    shapes = {
        "vectors": (entities.vectors.shape, (count, width)),
        "codes": ((*entities.codes.shape[:1], entities.codes.ndim), (count, 2)),
        "titles": (entities.titles.shape, (count,)),
        "offsets": (entities.offsets.shape, (count + 1,)),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise ValueError(f"{name} of {count} entities have shape {shape}, expected {expected}")
    if (
        entities.offsets[0] != 0
        or entities.offsets[-1] != len(entities.histories)
        or (np.diff(entities.offsets) < 0).any()
    ):
        raise ValueError(f"offsets must rise from 0 to the {len(entities.histories)} items of all histories")
    names, counts = np.unique(entities.names.astype(str), return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{str(names[counts > 1][0])!r} stands {counts.max()} times among the names; write each once")
    bad = ~np.isfinite(entities.vectors).all(axis=1)
    if bad.any():
        raise ValueError(f"{bad.sum()} vectors are not finite, the first of them of {entities.names[bad][0]!r}")


def check_sums(entities: Entities, numbers: np.ndarray) -> np.ndarray:
    """A checksum of each row, u64[n].

    The sum modulo 2**64 of values times odd weights of their positions: changing one value always changes it.
    """
    rows = len(entities)
    fixed = np.arange(rows + 1)
    sums = [
        np.asarray(numbers).astype(np.uint64),
        _sums(entities.vectors.reshape(-1).view(np.uint32), fixed * entities.vectors.shape[1]),
        _sums(entities.codes.reshape(-1).view(np.uint32), fixed * entities.codes.shape[1]),
        _sums(entities.histories.view(np.uint32), entities.offsets),
        *(_sums(*_letters(texts)) for texts in (entities.names, entities.titles)),
    ]
    total = np.zeros(rows, np.uint64)
    for part in sums:
        total = total * np.uint64(0x9E3779B97F4A7C15) + part
    return total


def _sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The weighted sum of each segment of values u32[N], plus its length, u64[n]."""
    lengths = np.diff(offsets)
    place = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    weights = (2 * place + 1).astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * weights, dtype=np.uint64)])
    return running[offsets[1:]] - running[offsets[:-1]] + lengths.astype(np.uint64)


def _letters(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unicode code points of all texts, u32[N], and the offset of each text."""
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    return letters, np.cumsum([0, *map(len, texts)])
