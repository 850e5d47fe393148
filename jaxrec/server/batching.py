"""Requests that arrive together share a device call: a bounded queue and the thread that empties it."""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class FullError(Exception):
    """More requests wait than the queue holds."""


class Batcher(Generic[Request, Answer]):
    """Answers requests in batches, in a thread of its own.

    A batch is what waits when the thread is free and, until it is full, what arrives within `wait` seconds of its
    oldest request. Requests of different groups never share a batch.

    Args:
      answer: answers a batch of one group, in order; called in the thread.
      group: of a request.
      most: requests of a batch.
      wait: seconds.
      queue: requests that may wait.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Request]], Sequence[Answer]],
        group: Callable[[Request], Hashable],
        *,
        most: int,
        wait: float,
        queue: int,
    ) -> None:
        self._answer, self._group = answer, group
        self._most, self._wait, self._size = most, wait, queue
        self._waiting: collections.deque[tuple[float, Request, Future[Answer]]] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def submit(self, requests: Sequence[Request]) -> list[Future[Answer]]:
        """Queues requests of the running event loop, all or none; raises FullError where they don't fit."""
        loop = asyncio.get_running_loop()
        futures: list[Future[Answer]] = [loop.create_future() for _ in requests]
        with self._changed:
            if self._closed or len(self._waiting) + len(requests) > self._size:
                raise FullError
            now = time.monotonic()
            self._waiting.extend((now, request, future) for request, future in zip(requests, futures, strict=True))
            self._changed.notify_all()
        return futures

    def close(self) -> None:
        """Answers what waits, takes nothing more, and returns when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            running = [(request, future) for request, future in batch if not future.cancelled()]
            if not running:
                continue
            try:
                answers: Sequence[Any] = self._answer([request for request, _ in running])
                error = None
            except BaseException as raised:
                # The thread goes on; each caller gets the error.
                answers, error = [None] * len(running), raised
            by_loop: dict[AbstractEventLoop, list[tuple[Future[Answer], Any]]] = {}
            for (_, future), answer in zip(running, answers, strict=True):
                by_loop.setdefault(future.get_loop(), []).append((future, answer))
            for loop, answered in by_loop.items():
                if not loop.is_closed():  # one call a batch: each wakes the loop
                    loop.call_soon_threadsafe(_deliver, answered, error)

    def _next(self) -> list[tuple[Request, Future[Answer]]]:
        """The next batch; empty when closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            deadline = self._waiting[0][0] + self._wait
            while len(self._waiting) < self._most and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            group = self._group(self._waiting[0][1])
            batch, others = [], []
            while self._waiting and len(batch) < self._most:
                entry = self._waiting.popleft()
                (batch if self._group(entry[1]) == group else others).append(entry)
            self._waiting.extendleft(reversed(others))
            return [(request, future) for _, request, future in batch]


def _deliver(answered: Sequence[tuple[Future[Any], Any]], error: BaseException | None) -> None:
    for future, answer in answered:
        if future.done():  # whoever asked has left
            continue
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)
