"""Errors as answers, all in one form: `{"status": 422, "error": "what is wrong and what to do"}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from jaxrec.server.batching import FullError
from jaxrec.text import quoted


class NotReadyError(Exception):
    """A model is still being compiled."""


HANDLED = (ValueError, RequestValidationError, FullError, NotReadyError, TimeoutError, HTTPException, Exception)
"""Kinds of errors that `problem` tells apart."""


def problem(error: Exception) -> JSONResponse:
    """The answer to a request that failed."""
    if isinstance(error, RequestValidationError):
        return _problem(422, _sentence(error.errors()))
    if isinstance(error, FullError):
        return _problem(503, "too many requests wait; try again in a second", {"retry-after": "1"})
    if isinstance(error, NotReadyError):
        return _problem(503, "the model is being compiled; try again in a few seconds", {"retry-after": "5"})
    if isinstance(error, TimeoutError):
        return _problem(503, "no answer in time; try again in a few seconds", {"retry-after": "5"})
    if isinstance(error, HTTPException):
        return _problem(error.status_code, str(error.detail), error.headers)
    if isinstance(error, ValueError):
        return _problem(422, str(error))
    return _problem(500, "an error of the server, which its log describes")


def _problem(status: int, error: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"status": status, "error": error}, status, headers)


def _sentence(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with a body or a query, by field."""
    # Of a body that could be one request or many, what is wrong with the other form is no news.
    many = [error for error in errors if "RecommendRequests" in error["loc"]]
    errors = [error for error in errors if error not in many] or many
    error = errors[0]
    where = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "RecommendRequest"))
    return f"{quoted(where)[1:-1] or 'body'}: {error['msg']}"
