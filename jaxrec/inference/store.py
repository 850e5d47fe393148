"""A vector store of items and users in LanceDB, an embedded vector database."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxrec.inference.entities import Entities, check_entities, check_sums, from_arrow, schema_of, to_arrow
from jaxrec.inference.store_files import REPAIR, explained, last_version, locked
from jaxrec.types import Array, DataError

TABLES = ("items", "users")
INDEX_FROM = 5000  # rows; below, an exact search is as fast, and partitions would be too small to train
ATTEMPTS = 10  # of a write that conflicts with other writers
PROBES = 20  # partitions of the index that a search reads


class LanceStore:
    """A `VectorStore` in LanceDB: a folder or an object storage URI (s3://, gs://), no server.

    Each write is one atomic, durable commit with its own version; older versions stay readable. Every row has a
    checksum of its values, by which `read` detects damaged files that still parse. Writers to a local folder are
    serialised by a lock that is released when its process ends; on object storage, a writer that lost a race renumbers
    its new names, and a concurrent reader gets an error.
    """

    def __init__(self, path: str, tables: dict[str, Any], pinned: bool) -> None:
        self.path = path
        self._tables = tables
        self._pinned = pinned
        self._lock_owner: int | None = None
        self.width: int = tables["items"].schema.field("vector").type.list_size

    @classmethod
    def create(cls, path: str | pathlib.Path, width: int) -> LanceStore:
        """An empty store of vectors of `width` numbers.

        Raises ValueError if a store exists, or the path can't be written.
        """
        if width < 1:
            raise ValueError(f"width={width} must be at least 1")
        path, database = _connect(path)
        if existing := sorted(_names(path, database)):
            raise ValueError(f"{path} holds tables already ({', '.join(existing)}); open it, or take another folder")
        with explained(path, "can't be created", "take a folder that can be written"):
            return cls(path, {name: database.create_table(name, schema=schema_of(width)) for name in TABLES}, False)

    @classmethod
    def open(
        cls, path: str | pathlib.Path, width: int | None = None, versions: Mapping[str, int] | None = None
    ) -> LanceStore:
        """Opens an existing store.

        Args:
          path: as given to `create`.
          width: the expected width of the vectors, or None.
          versions: the version of each table, as given by `versions`, to read an older state; None takes the newest.
        Raises:
          ValueError: there is no store, it is damaged, has no such version, or another width.
        """
        local = "://" not in str(path)
        if local and not pathlib.Path(path).is_dir():
            raise DataError(f"{path} holds no vector store: there is no such folder; create one")
        path, database = _connect(path)
        if missing := sorted(set(TABLES) - _names(path, database)):
            raise DataError(f"{path} holds no vector store: no table {', '.join(missing)}; create one")
        noted_versions = {name: last_version(path, name) for name in TABLES}  # before others write yet another
        tables = {}
        for name in TABLES:
            version = None if versions is None else versions.get(name)
            what = "can't be opened" if version is None else f"has no readable version {version}"
            with explained(path, f"table {name!r} {what}"):
                tables[name] = database.open_table(name, version=version)
                columns, newest = tables[name].schema, tables[name].version
            if version is None and newest < noted_versions[name]:
                raise DataError(f"{path}: version {noted_versions[name]} of table {name!r} is gone; {REPAIR}")
            if "vector" not in columns.names or columns != schema_of(columns.field("vector").type.list_size):
                raise DataError(f"{path}: table {name!r} lacks the columns of a vector store, or is damaged; {REPAIR}")
        store = cls(path, tables, versions is not None)
        if width is not None and width != store.width:
            raise ValueError(f"{path} holds vectors of width {store.width}, expected {width}; take this model's store")
        return store

    @property
    def versions(self) -> dict[str, int]:
        """The version of each table, with which `open` reads this state again."""
        return {name: self._table(name).version for name in TABLES}

    def upsert(self, table: str, entities: Entities) -> np.ndarray:
        """Writes entities in one commit: existing names are replaced and keep their number, new ones get the next.

        Returns:
          Their numbers, i32[n].
        Raises:
          ValueError: the table is unknown, names repeat, vectors are not finite, shapes disagree, the store was opened
            at a version, or another writer holds the lock for too long.
        """
        self._table(table)
        check_entities(entities, self.width)
        self._check_writable()
        if not len(entities):
            return np.zeros(0, np.int32)
        with self.writing():
            for _ in range(ATTEMPTS):
                handle = self._table(table)
                before = handle.version
                numbers = self._numbers(table, entities)
                with explained(self.path, f"table {table!r} can't be written"):
                    merge = handle.merge_insert("name").when_matched_update_all().when_not_matched_insert_all()
                    written = merge.execute(to_arrow(entities, numbers))
                if written.version == before + 1:
                    return numbers
        raise ValueError(f"{self.path}: {ATTEMPTS} times another writer came between; let one write at a time")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the writer's lock over several calls: what was read inside is still so when it is written.

        Raises:
          ValueError: another writer holds it for too long.
        """
        if self._lock_owner == threading.get_ident():
            yield
            return
        with locked(self.path):
            self._lock_owner = threading.get_ident()
            try:
                yield
            finally:
                self._lock_owner = None

    def read(self, table: str) -> Entities:
        """All entities in the order of their numbers; verifies every row.

        Raises:
          ValueError: the table is unknown or damaged.
        """
        handle = self._table(table)
        with explained(self.path, f"table {table!r} can't be read"):
            rows = handle.to_arrow()
            numbers = rows["number"].to_numpy()
        if not np.array_equal(np.sort(numbers), np.arange(len(numbers))):
            raise DataError(
                f"{self.path}: the numbers of table {table!r} are not 0 to {len(numbers) - 1}: it is damaged, or a "
                "writer is at work or was cut off; read again, or upsert the names of that writer again"
            )
        with explained(self.path, f"table {table!r} can't be read"):
            rows = rows.take(np.argsort(numbers))
            entities = from_arrow(rows, self.width)
            sound = rows["check"].to_numpy() == check_sums(entities, np.arange(len(rows)))
        if not sound.all():
            raise DataError(
                f"{self.path}: {(~sound).sum()} rows of table {table!r} are damaged, the first of them "
                f"{entities.names[~sound][0]!r}; {REPAIR}"
            )
        return entities

    def find(self, table: str, name: str) -> int | None:
        """The number of a name, or None."""
        handle = self._table(table)
        quoted = name.replace("'", "''")
        with explained(self.path, f"table {table!r} can't be read"):
            rows = handle.search().where(f"name = '{quoted}'").select(["number"]).limit(1).to_arrow()
        return rows["number"][0].as_py() if len(rows) else None

    def search(self, table: str, queries: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The entities nearest to each query by cosine, for serving without an accelerator.

        Exact unless `index` was called on a table of at least 5000 rows; rows written since are searched exactly.
        Zero vectors have no direction: they are never results, and as queries give none.

        Args:
          table: "items" or "users".
          queries: f32[B,F].
          k: number of results; if there are fewer, padded with -1 and -inf.
        Returns:
          Numbers i32[B,k] and cosines f32[B,k], best first.
        Raises:
          ValueError: the table is unknown or damaged, or shapes don't fit.
        """
        handle = self._table(table)
        queries = np.asarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.width or not np.isfinite(queries).all():
            raise ValueError(f"queries must be finite f32[B,{self.width}]; got shape {list(queries.shape)}")
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        numbers = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for row, query in enumerate(queries):
            with explained(self.path, f"table {table!r} can't be searched"):
                near = handle.search(query, vector_column_name="vector").distance_type("cosine").limit(k)
                near = near.nprobes(PROBES).select(["number", "_distance"]).to_arrow()
            near_numbers, distances = near["number"].to_numpy(), near["_distance"].to_numpy()
            order = np.lexsort((near_numbers, distances))
            numbers[row, : len(order)] = near_numbers[order]
            scores[row, : len(order)] = np.clip(1 - distances[order], -1, 1)
        return numbers, scores

    def index(self, table: str) -> bool:
        """Rebuilds the index of `search` over all rows and compacts small files; older versions stay.

        Returns:
          False if the table has fewer than 5000 rows: exact search is as fast then, and no index is built.
        """
        handle = self._table(table)
        self._check_writable()
        from lancedb.index import IvfFlat

        with self.writing(), explained(self.path, f"table {table!r} can't be indexed"):
            handle.optimize(cleanup_older_than=datetime.timedelta(days=36500))
            if (rows := handle.count_rows()) < INDEX_FROM:
                return False
            partitions = max(int(rows**0.5) // 2, 1)
            handle.create_index(
                "vector", config=IvfFlat(distance_type="cosine", num_partitions=partitions), replace=True
            )
        return True

    def _check_writable(self) -> None:
        if self._pinned:
            raise ValueError(f"{self.path} was opened at versions, which can't be written; open it without")

    def _table(self, name: str) -> Any:
        """The table in its newest state, or in the opened version."""
        if name not in TABLES:
            raise ValueError(f"table={name!r} is none of {', '.join(TABLES)}")
        if not self._pinned:
            with explained(self.path, f"table {name!r} can't be opened"):
                self._tables[name].checkout_latest()
        return self._tables[name]

    def _numbers(self, table: str, entities: Entities) -> np.ndarray:
        """A number for each name: its existing one or the next; a number shared by two names is reassigned."""
        import pyarrow
        import pyarrow.compute

        index_in: Any = pyarrow.compute.index_in  # pyright: ignore[reportAttributeAccessIssue]

        with explained(self.path, f"table {table!r} can't be read"):
            rows = self._tables[table].search().select(["name", "number"]).to_arrow()
            old_numbers = rows["number"].to_numpy()
            names = pyarrow.array(entities.names.tolist(), pyarrow.string())
            positions = index_in(names, rows["name"].combine_chunks()).fill_null(-1).to_numpy()
            codes = self._tables[table].search().select(["codes"]).limit(1).to_arrow()["codes"].to_pylist()
        if codes and len(codes[0]) != entities.codes.shape[1]:
            raise ValueError(
                f"{self.path}: ids of table {table!r} have {len(codes[0])} codes, got {entities.codes.shape[1]}; "
                "write ids of another tokenizer to a store of their own"
            )
        if len(old_numbers) and not 0 <= old_numbers.min() <= old_numbers.max() < len(old_numbers):
            raise DataError(f"{self.path}: numbers of table {table!r} are damaged; {REPAIR}")
        values, counts = np.unique(old_numbers, return_counts=True)
        matched = np.append(old_numbers, -1)[positions]  # -1 where a name is new
        is_new = (positions < 0) | np.isin(matched, values[counts > 1])
        first = old_numbers.max() + 1 if len(old_numbers) else 0
        return np.where(is_new, first + np.cumsum(is_new) - 1, matched).astype(np.int32)


def _connect(path: str | pathlib.Path) -> tuple[str, Any]:
    """The path as text, and LanceDB's connection, which creates the folder if missing."""
    import lancedb  # imported here because it takes a second

    with explained(str(path), "can't be reached", "look at its spelling and rights"):
        return str(path), lancedb.connect(str(path))


def _names(path: str, database: Any) -> set[str]:
    with explained(path, "can't be listed", "look at its spelling and rights"):
        return set(database.list_tables().tables)
