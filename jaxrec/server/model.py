"""One served run: its batches, its events, and how another state takes its place."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
import time
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from jaxrec.inference import newcomers, service
from jaxrec.inference.newcomers import Update
from jaxrec.inference.queries import Query
from jaxrec.server.batching import Batcher
from jaxrec.server.blend import ServedBlend
from jaxrec.server.limits import Limits
from jaxrec.server.loading import Loaded
from jaxrec.server.metrics import Metrics
from jaxrec.server.snapshot import Snapshot
from jaxrec.system.system import System
from jaxrec.types import Interactions


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request for a list: by which state it was read, and what it asks."""

    snapshot: Snapshot
    task: str
    query: Query
    k: int


@dataclasses.dataclass(frozen=True)
class Listed:
    """A list: item numbers and scores, best first, the state that answered, and why there are fewer than k, or ""."""

    snapshot: Snapshot
    items: list[int]
    scores: list[float]
    reason: str


@dataclasses.dataclass(frozen=True)
class Event:
    """A user took an item, both by name; the title is read where the item is new."""

    user: str
    item: str
    title: str | None = None


class ServedModel:
    """A run behind an address; all methods but `submit`, which belongs to an event loop, may be called from any thread.

    Args:
      name: by which requests choose it.
      load: reads the run or blend from its folder again.
      loaded: the same, as `load` returns it.
      limits: of the server.
      metrics: of the server.
      allow_lists: names of items by the names of lists that requests may give as `allow`.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Loaded],
        loaded: Loaded,
        limits: Limits,
        metrics: Metrics,
        allow_lists: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.name, self._load, self._limits, self._metrics = name, load, limits, metrics
        self._loaded = loaded
        self._allow_lists = allow_lists
        self._versions = newcomers.store_versions(loaded.system)
        self._snapshot = self._state(newcomers.served(loaded.system), loaded.blend)
        self._writes = threading.Lock()
        self.ready = False
        self._batcher: Batcher[Asked, Listed] = Batcher(
            self._answer,
            lambda asked: (id(asked.snapshot), asked.task),
            most=limits.batch_sizes[-1],
            wait=limits.wait_ms / 1000,
            queue=limits.queue,
        )
        metrics.queue.labels(name).set_function(lambda: len(self._batcher))
        metrics.version.labels(name).info({"version": self.snapshot.version})

    @property
    def snapshot(self) -> Snapshot:
        """The state that the next request is answered by."""
        return self._snapshot

    @property
    def folder(self) -> pathlib.Path:
        """Of the run or blend."""
        return self._loaded.folder

    def compile(self) -> None:
        """Compiles what requests need; the model is ready then."""
        with self._writes:
            self._snapshot.compile()
            self.ready = True

    def submit(self, asked: Sequence[Asked]) -> list[Future[Listed]]:
        """Queues requests of the running event loop; raises FullError where the queue can't hold them."""
        return self._batcher.submit(asked)

    def ask(self, task: str, user: str, items: Sequence[str], feature: str, review: str) -> list[tuple[str, str]]:
        """See `jaxrec.inference.service.ask`; one call at a time."""
        if blend := self._loaded.blend:
            raise ValueError(f"{blend.name} is a blend, which ranks items alone; ask a run")
        with self._writes:
            return service.ask(self._loaded.system, task, user=user, items=items, feature=feature, review=review)

    def update(self, events: Sequence[Event]) -> Update:
        """Adds events as `jaxrec update` does; they are in the store, and count, when this returns.

        Raises:
          ValueError: the store can't be written.
        """
        with self._writes:
            old = self._snapshot
            system, done = newcomers.update(old.system, interactions(events))
            snapshot = self._state(system, self._loaded.blend, old)
            if snapshot.scored_items != old.scored_items:
                snapshot.compile()  # another size of catalogue, other shapes; requests use the old state meanwhile
            self._snapshot, self._versions = snapshot, done.versions
        self._metrics.events.labels(self.name).inc(done.events)
        return done

    def notice(self) -> bool:
        """Reads the store again if another process has written to it; returns whether it has.

        Raises:
          ValueError: what was written can't be read; the old state goes on.
        """
        with self._writes:
            versions = newcomers.store_versions(self._loaded.system)
            if versions == self._versions:
                return False
            self._versions = versions  # what can't be read is not tried again before the next write
            old, system = self._snapshot, newcomers.served(self._loaded.system)
            snapshot = self._state(system, self._loaded.blend, old if old.is_before(system) else None)
            if self.ready and snapshot.scored_items != old.scored_items:
                snapshot.compile()
            self._snapshot = snapshot
        return True

    def reload(self) -> str:
        """Reads the run's folder again and returns its version; requests in flight are answered by the old state.

        Raises:
          ValueError: the folder can't be loaded; the old state goes on.
        """
        with self._writes:
            try:
                loaded = self._load()
                versions = newcomers.store_versions(loaded.system)
                snapshot = self._state(newcomers.served(loaded.system), loaded.blend)
                snapshot.compile()
            except Exception as error:
                # Damaged files fail in many ways; whatever it is, the old model goes on.
                raise ValueError(f"{self.folder} can't be loaded, the old model goes on: {error}") from error
            self._loaded, self._snapshot, self._versions = loaded, snapshot, versions
        self._metrics.version.labels(self.name).info({"version": snapshot.version})
        return snapshot.version

    def close(self) -> None:
        """Answers what waits and ends the thread."""
        self._batcher.close()

    def _state(self, system: System, blend: ServedBlend | None, before: Snapshot | None = None) -> Snapshot:
        return Snapshot.of(system, self._limits, self._allow_lists, before, blend)

    def _answer(self, batch: Sequence[Asked]) -> list[Listed]:
        """One device call for requests of one snapshot and task."""
        snapshot, last = batch[0].snapshot, time.monotonic()

        def stage(name: str) -> None:
            nonlocal last
            self._metrics.stages.labels(self.name, name).observe(time.monotonic() - last)
            last = time.monotonic()

        self._metrics.batches.labels(self.name).observe(len(batch))
        top = snapshot.answer([asked.query for asked in batch], batch[0].task, stage)
        lists = []
        for asked, items, scores in zip(batch, top.items, top.scores, strict=True):
            listed = [int(item) for item in items[: asked.k] if item >= 0]
            reason = snapshot.why_fewer(asked.query, len(listed), asked.k)
            lists.append(Listed(snapshot, listed, scores[: len(listed)].tolist(), reason))
        return lists


def interactions(events: Sequence[Event]) -> Interactions:
    """Events in their order, as readers of files give them."""
    users = {name: n for n, name in enumerate(dict.fromkeys(event.user for event in events))}
    items = {name: n for n, name in enumerate(dict.fromkeys(event.item for event in events))}
    titles = {event.item: event.title for event in events if event.title}
    return Interactions(
        np.array([users[event.user] for event in events], np.int32),
        np.array([items[event.item] for event in events], np.int32),
        np.array(list(users), object),
        np.array(list(items), object),
        item_titles=np.array([titles.get(name, name) for name in items], object),
    )
