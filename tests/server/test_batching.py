"""The queue: what waits together is answered together, groups apart, nothing beyond its size, nothing lost."""

import asyncio
import threading
import time

import pytest

from jaxrec.server.batching import Batcher, FullError


class Recorded:
    """Answers a request with its square, notes the batches, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.started = threading.Event()

    def __call__(self, batch):
        self.started.set()
        assert self.free.wait(10)
        self.batches.append(list(batch))
        if 13 in batch:
            raise RuntimeError("thirteen")
        return [n * n for n in batch]


class InLoop(Batcher):
    """A batcher that is asked in an event loop, by a test that is not in it."""

    loop = asyncio.new_event_loop()

    def submit(self, requests):
        async def call():
            return super(InLoop, self).submit(requests)

        return [Waiting(future) for future in asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)]


class Waiting:
    """A future of the loop."""

    def __init__(self, future) -> None:
        self.future = future

    def result(self, seconds):
        async def wait():
            return await asyncio.wait_for(self.future, seconds)

        return asyncio.run_coroutine_threadsafe(wait(), InLoop.loop).result()

    def cancel(self) -> None:
        async def cancel():
            self.future.cancel()

        asyncio.run_coroutine_threadsafe(cancel(), InLoop.loop).result(10)


@pytest.fixture(autouse=True, scope="module")
def loop():
    thread = threading.Thread(target=InLoop.loop.run_forever)
    thread.start()
    yield
    InLoop.loop.call_soon_threadsafe(InLoop.loop.stop)
    thread.join()
    InLoop.loop.close()


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def make(recorded, *, most=4, wait=0.0, queue=8, group=lambda n: n % 2):
    return InLoop(recorded, group, most=most, wait=wait, queue=queue)


def test_what_waits_is_answered_together_by_group_in_order(recorded) -> None:
    batcher = make(recorded)
    recorded.free.clear()
    first = batcher.submit([0])
    assert recorded.started.wait(10)  # the thread is busy: all others wait
    others = batcher.submit([1, 2, 3, 4, 6, 8, 10])
    recorded.free.set()
    assert [future.result(10) for future in first + others] == [0, 1, 4, 9, 16, 36, 64, 100]
    assert recorded.batches == [[0], [1, 3], [2, 4, 6, 8], [10]]
    batcher.close()


def test_a_request_waits_for_others_but_not_longer(recorded) -> None:
    batcher = make(recorded, wait=0.5)
    started = time.monotonic()
    one = batcher.submit([2])
    other = batcher.submit([4])
    assert [future.result(10) for future in one + other] == [4, 16]
    assert recorded.batches == [[2, 4]]
    assert 0.4 < time.monotonic() - started < 5
    started = time.monotonic()
    assert [future.result(10) for future in batcher.submit([2, 4, 6, 8])] == [4, 16, 36, 64]
    assert time.monotonic() - started < 0.4  # a full batch waits for nobody
    batcher.close()


def test_a_full_queue_takes_all_of_a_call_or_nothing(recorded) -> None:
    batcher = make(recorded, queue=3)
    recorded.free.clear()
    first = batcher.submit([0])
    assert recorded.started.wait(10)
    second = batcher.submit([2, 4])
    with pytest.raises(FullError):
        batcher.submit([6, 8])
    assert len(batcher) == 2
    third = batcher.submit([6])
    recorded.free.set()
    assert [future.result(10) for future in first + second + third] == [0, 4, 16, 36]
    batcher.close()


def test_an_error_is_that_batchs_alone_and_who_left_is_not_answered(recorded) -> None:
    batcher = make(recorded)
    recorded.free.clear()
    batcher.submit([0])
    assert recorded.started.wait(10)
    broken, left, sound = batcher.submit([13])[0], batcher.submit([4])[0], batcher.submit([6])[0]
    left.cancel()
    recorded.free.set()
    with pytest.raises(RuntimeError, match="thirteen"):
        broken.result(10)
    assert sound.result(10) == 36
    assert [6] in recorded.batches
    batcher.close()


def test_closing_answers_what_waits(recorded) -> None:
    batcher = make(recorded, wait=10)
    futures = batcher.submit([2, 4])
    batcher.close()
    assert [future.result(10) for future in futures] == [4, 16]
    with pytest.raises(FullError):
        batcher.submit([2])
