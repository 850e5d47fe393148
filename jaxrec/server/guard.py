"""What a request must pass before it is read: token, host, content type, size and time of its body."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jaxrec.server.limits import Limits
from jaxrec.server.metrics import Metrics

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no token: the page holds nothing, and a load balancer has none."""


class Refused(Exception):
    """A request that is not let in."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status, self.headers = status, headers


class Guard:
    """ASGI middleware that lets in what is allowed, and counts all answers.

    Args:
      app: that answers.
      limits: bounds.
      metrics: to count in.
      token: that requests must bear, or None.
      hosts: names by which the server may be called, or None for any; keeps pages of other sites, whose names can be
        made to point here, from reading a server on loopback.
    """

    def __init__(
        self, app: App, *, limits: Limits, metrics: Metrics, token: str | None, hosts: tuple[str, ...] | None
    ) -> None:
        self.app, self.limits, self.metrics, self.token, self.hosts = app, limits, metrics, token, hosts

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def counted(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]}
            await send(message)

        try:
            body = await self._let_in(scope, receive)
            await self.app(scope, _replayed(body, receive), counted)
        except Refused as refused:
            await _answer(counted, refused)
        finally:
            path = scope.get("counted_as") or getattr(scope.get("route"), "path", "other")
            self.metrics.count(path, scope["method"], status, time.monotonic() - started)

    async def _let_in(self, scope: dict[str, Any], receive: Receive) -> bytes:
        """The request's body.

        Raises:
          Refused: why it is not let in.
        """
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and _without_port(host) not in self.hosts:
            raise Refused(421, f"this server is called {' or '.join(self.hosts)}; start it with --host to open it")
        if self.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                sentence = "give the server's token: Authorization: Bearer TOKEN"
                raise Refused(401, sentence, **{"www-authenticate": "Bearer"})
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return b""
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Refused(415, "the body must be JSON; set Content-Type: application/json")
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._body(headers, receive)
        except TimeoutError:
            raise Refused(408, f"the body did not arrive within {self.limits.body_seconds:g} s") from None

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        most = self.limits.body_bytes
        too_long = Refused(413, f"the body exceeds {most:,} bytes; ask for less in a call", connection="close")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15 or int(length) > most:
            raise too_long
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the connection was closed before the body's end")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise too_long
            if not message.get("more_body"):
                return b"".join(parts)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]").lower()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first."""
    given = False

    async def again() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, refused: Refused) -> None:
    body = json.dumps({"status": refused.status, "error": str(refused)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
