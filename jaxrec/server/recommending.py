"""The address that most requests go to, from bytes to bytes, as a framework would take longer than a list does."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from jaxrec.server import answers, bodies
from jaxrec.server.errors import problem
from jaxrec.server.guard import App, Receive, Send
from jaxrec.server.limits import Limits
from jaxrec.server.models import Models

PATH = "/v1/recommend"
BODY: TypeAdapter[bodies.RecommendRequest | bodies.RecommendRequests] = TypeAdapter(
    bodies.RecommendRequest | bodies.RecommendRequests
)
HEADERS = [(b"content-type", b"application/json")]


class Recommending:
    """ASGI middleware that answers POST /v1/recommend, and gives everything else to the application.

    Args:
      app: that describes this address, too, for OpenAPI.
      models: that answer.
      limits: bounds on requests.
    """

    def __init__(self, app: App, models: Models, limits: Limits) -> None:
        self.app, self.models, self.limits = app, models, limits

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        scope["counted_as"] = PATH
        try:
            content = await self._answer((await receive())["body"])
        except Exception as error:
            response = problem(error)
            await response(scope, receive, send)  # pyright: ignore[reportArgumentType]
            if response.status_code == 500:
                raise
            return
        headers = [*HEADERS, (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, content: bytes) -> bytes:
        """The answer to a body.

        Raises:
          RequestValidationError: it is no JSON, or not of the right form.
          Exception: see `answers.recommend`.
        """
        try:
            body = BODY.validate_json(content)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        if isinstance(body, bodies.RecommendRequests):
            lists = await answers.recommend(self.models, self.limits, body.requests)
            return b'{"answers":[' + b",".join(lists) + b"]}"
        return (await answers.recommend(self.models, self.limits, [body]))[0]
