"""A closed loop of HTTP clients against a server on loopback; a process of its own, without jax.

`python -m benchmarks.serve_load --port 8080 --requests requests.jsonl --out answers.json` posts to /v1/recommend.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import cast

HOST = "127.0.0.1"  # and nowhere else: this makes load


class Client(asyncio.Protocol):
    """One kept connection: sends the next request as soon as the last is answered, until there is none.

    Args:
      requests: shared with the other clients: numbers and bytes of requests.
      answers: gets (status, seconds, body) of each request by its number.
      deadline: `time.perf_counter()` after which nothing more is sent.
    """

    def __init__(
        self,
        requests: Iterator[tuple[int, bytes]],
        answers: list[tuple[int, float, bytes] | None],
        deadline: float,
    ) -> None:
        self.requests, self.answers, self.deadline = requests, answers, deadline
        self.done = asyncio.get_running_loop().create_future()
        self.received, self.number, self.sent, self.size = b"", -1, 0.0, -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if self.size < 0:
            if (end := self.received.find(b"\r\n\r\n")) < 0:
                return
            self.size = end + 4 + int(self.received[:end].lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(self.received) < self.size:
            return
        head, _, body = self.received.partition(b"\r\n\r\n")
        self.answers[self.number] = int(head[9:12]), time.perf_counter() - self.sent, body
        self.received, self.size = b"", -1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.number, request = next(self.requests, (-1, b"")) if self.sent < self.deadline else (-1, b"")
        if self.number < 0:
            self.transport.close()
        else:
            self.transport.write(request)


def post(
    port: int, bodies: Sequence[bytes], *, clients: int, seconds: float, path: str = "/v1/recommend"
) -> tuple[float, list[tuple[int, float, bytes] | None]]:
    """Posts all bodies once, or as many as there is time for.

    Args:
      port: of a server on this machine.
      bodies: JSON texts.
      clients: connections, each with one request at a time.
      seconds: after which nothing more is sent; what is not answered in as much time again is lost.
      path: to post to.
    Returns:
      The seconds until the last answer, and (status, seconds, body) of each request in order, None where it was not
      sent or the server closed the connection.
    """

    async def run() -> tuple[float, list[tuple[int, float, bytes] | None]]:
        answers: list[tuple[int, float, bytes] | None] = [None] * len(bodies)
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
        requests = ((n, f"{head}{len(body)}\r\n\r\n".encode() + body) for n, body in enumerate(bodies))
        started = time.perf_counter()
        loop, deadline = asyncio.get_running_loop(), started + seconds
        made = []
        for _ in range(clients):
            with contextlib.suppress(OSError):  # a server that is gone: what it did not answer is None
                _, client = await loop.create_connection(lambda: Client(requests, answers, deadline), HOST, port)
                made.append(client)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(client.done for client in made)), 2 * seconds)
        return time.perf_counter() - started, answers

    with contextlib.suppress(ImportError):  # a third faster, so that the client takes less from the server
        import uvloop

        return uvloop.run(run())
    return asyncio.run(run())


def main() -> None:
    """Posts the lines of a file again and again, up to a count, and writes what came back as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=pathlib.Path, required=True, help="file with a body a line")
    parser.add_argument("--count", type=int, help="how many to post; default: each line once")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0, help="stop after this time")
    parser.add_argument("--bodies", action="store_true", help="keep the answers' bodies, not only status and time")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    lines = arguments.requests.read_bytes().splitlines()
    bodies = list(itertools.islice(itertools.cycle(lines), arguments.count or len(lines)))
    taken, answers = post(arguments.port, bodies, clients=arguments.clients, seconds=arguments.seconds)
    sent = [answer for answer in answers if answer is not None]
    report = {
        "seconds": taken,
        "statuses": [answer and answer[0] for answer in answers],
        "latencies": [seconds for _, seconds, _ in sent],
    }
    if arguments.bodies:
        report["bodies"] = [answer and answer[2].decode() for answer in answers]
    arguments.out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
